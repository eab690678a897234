"""What BentoML's own client asks for before it calls: whether the service is up, and its schema."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from colpali_serve.gateway.http.readiness import Readiness

router = APIRouter(include_in_schema=False)

_TEXTS = {"type": "array", "items": {"type": "string"}}
_IMAGES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"url": {"type": "string"}},
        "required": ["url"],
    },
}
_TENSOR = {"type": "tensor", "format": "numpy-array", "dtype": "float32"}
# A list of arrays, where BentoColPali has one array with padding: our embeddings have none.
_EMBEDDINGS = {"type": "array", "items": _TENSOR}


def _route(name: str, output: dict[str, Any], **fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "route": f"/{name}",
        "batchable": False,
        "is_task": False,
        "input": {"type": "object", "properties": fields, "required": list(fields)},
        "output": output,
    }


_SCHEMA = {
    "name": "colpali",
    "type": "service",
    "routes": [
        _route("embed_images", _EMBEDDINGS, items=_IMAGES),
        _route("embed_queries", _EMBEDDINGS, items=_TEXTS),
        _route(
            "score_embeddings",
            _TENSOR,
            image_embeddings=_EMBEDDINGS,
            query_embeddings=_EMBEDDINGS,
        ),
        _route("score", _TENSOR, images=_IMAGES, queries=_TEXTS),
    ],
}


@router.get("/schema.json")
async def schema() -> JSONResponse:
    """Describe BentoColPali's four routes as BentoML does."""
    return JSONResponse(_SCHEMA)


@router.get("/livez")
async def live() -> Response:
    """Answer, as /health/live does."""
    return PlainTextResponse("")


@router.get("/readyz")
async def ready(request: Request) -> Response:
    """Answer as /health/ready does."""
    readiness: Readiness = request.app.state.readiness
    readiness.check()
    return PlainTextResponse("")
