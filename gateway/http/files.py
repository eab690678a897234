"""The playground's files, each at an address of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

_FOLDER = Path(__file__).resolve().parent.parent / "playground"
_INDEX = "index.html"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


def add_playground(app: FastAPI, folder: Path = _FOLDER) -> None:
    """Serve the playground at ``/``; without one, ``/`` leads to the documentation.

    No folder is mounted at ``/``: it would answer for every path and method that no route has.

    Args:
        app: The application.
        folder: With ``index.html`` and what that names.
    """
    names = sorted(path.name for path in folder.glob("*") if path.suffix in _TYPES)
    for name in names:
        app.add_route(f"/{name}", _file(folder / name), include_in_schema=False)
    if _INDEX in names:
        app.add_route("/", _file(folder / _INDEX), include_in_schema=False)
    else:
        app.add_route("/", _to_docs, include_in_schema=False)


def _file(path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        # A new release must not meet the scripts of the one before it.
        headers = {"cache-control": "no-cache"}
        return FileResponse(path, media_type=_TYPES[path.suffix], headers=headers)

    return serve


async def _to_docs(request: Request) -> Response:
    return RedirectResponse("/docs")
