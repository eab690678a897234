"""The application behind the HTTP door."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import RedirectResponse
from starlette.staticfiles import StaticFiles

from colpali_serve.gateway.http import bento, errors, health
from colpali_serve.gateway.http.flow import FlowCaller

PLAYGROUND = Path(__file__).resolve().parent.parent / "playground"

routers = [health.router, bento.router]
"""A module of routes each; one's router is added here to be served."""


def create_app(flow: FlowCaller) -> FastAPI:
    """Build the application.

    Args:
        flow: Where requests go.
    """
    app = FastAPI(
        title="colpali-serve",
        summary="Visual document retrieval: pages and queries to embeddings, embeddings to scores.",
        version=_version(),
        docs_url=None,
        redoc_url=None,
    )
    app.state.flow = flow
    errors.install(app)
    for router in routers:
        app.include_router(router)
    if (PLAYGROUND / "index.html").is_file():
        app.mount("/", StaticFiles(directory=PLAYGROUND, html=True), name="playground")
    else:
        app.add_route("/", _to_docs, include_in_schema=False)
    return app


async def _to_docs(request: object) -> RedirectResponse:
    return RedirectResponse("/openapi.json")


def _version() -> str:
    try:
        return version("colpali-serve")
    except PackageNotFoundError:
        return "0"  # run from a source tree
