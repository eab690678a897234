"""The application behind the HTTP door."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from colpali_serve.gateway.http import (
    bento,
    bento_client,
    contract,
    docs,
    errors,
    health,
    heatmap,
    openai,
)
from colpali_serve.gateway.http.files import add_playground
from colpali_serve.gateway.http.flow import FlowCaller
from colpali_serve.gateway.http.guard import Guard
from colpali_serve.gateway.http.pages import PageReader
from colpali_serve.gateway.http.readiness import Readiness
from colpali_serve.gateway.http.rendering import Rendering

routers = [
    health.router,
    bento.router,
    bento_client.router,
    openai.router,
    heatmap.router,
    docs.router,
]
"""A module of routes each; one's router is added here to be served.

A route reads its body with `reading.read`, finds what it needs in `request.app.state` (`flow`,
`pages`), awaits the Flow with `flow.unless_gone`, and raises a `ColPaliError` for what is wrong.
"""


def create_app(handler: Any) -> FastAPI:
    """Build the application.

    Args:
        handler: The gateway's `GuardedRequestHandler`.
    """
    app = FastAPI(
        title="colpali-serve",
        summary="Visual document retrieval: pages and queries to embeddings, embeddings to scores.",
        version=_version(),
        docs_url=None,
        redoc_url=None,
        # A body would have to be sent twice.
        redirect_slashes=False,
    )
    state = app.state
    state.flow = FlowCaller(handler)
    state.limits = handler.limits
    state.metrics = handler.metrics
    state.readiness = Readiness(handler, state.flow)
    state.rendering = Rendering(handler.limits.settings)
    state.pages = PageReader(state.rendering, handler.limits)
    errors.install(app)
    for router in routers:
        app.include_router(router, responses=contract.ERRORS)
    contract.install(app, routers)
    add_playground(app)
    app.add_middleware(Guard, keys=handler.keys, limits=handler.limits, metrics=handler.metrics)
    if origins := handler.limits.settings.cors_origins:
        # Outermost: a browser has to be told so of errors as well.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key"],
            expose_headers=["retry-after"],
        )
    return app


async def start(app: FastAPI) -> None:
    """Begin what goes on beside requests."""
    app.state.readiness.start()


async def stop(app: FastAPI) -> None:
    """End it."""
    await app.state.readiness.stop()
    await app.state.rendering.close()


def _version() -> str:
    try:
        return version("colpali-serve")
    except PackageNotFoundError:
        return "0"  # run from a source tree
