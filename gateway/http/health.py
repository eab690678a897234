"""Whether the service lives and works, its figures, and what it is made of."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from colpali_serve.gateway.http.readiness import Readiness
from colpali_serve.gateway.versions import package_versions
from colpali_serve.schemas import INFO, InfoDoc

router = APIRouter(tags=["operations"])


@router.get("/health/live")
async def live() -> JSONResponse:
    """Say that the gateway's process answers. Needs no key."""
    return JSONResponse({"status": "live"})


@router.get("/health/ready")
async def ready(request: Request) -> JSONResponse:
    """Say whether the encoder has answered a real forward within the last minute; 503 if not.

    Needs no key. Without traffic the gateway embeds a query of its own now and then.
    """
    readiness: Readiness = request.app.state.readiness
    return JSONResponse(
        {"status": "ready", "seconds_since_last_forward": round(readiness.check(), 1)}
    )


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Return the gateway's figures in Prometheus' text format."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/version")
async def version(request: Request) -> JSONResponse:
    """Return the versions of packages, and name and fingerprint of the checkpoint."""
    [info] = await request.app.state.flow.post(INFO, [InfoDoc(id="info")])
    model = {name: value for name, value in info.dict().items() if name != "id"}
    return JSONResponse({"packages": package_versions(), "model": model})
