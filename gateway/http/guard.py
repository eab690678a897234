"""What stands before every route: keys, limits, security headers, figures."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from colpali_serve.gateway.http.errors import HttpError, answer
from colpali_serve.gateway.keys import Keys
from colpali_serve.gateway.limits import CALLER, Caller, Held, Limits
from colpali_serve.gateway.metrics import Metrics
from colpali_serve.schemas import ColPaliError

OPEN: Final = frozenset({"/health/live", "/health/ready", "/livez", "/readyz"})
"""Paths that never need a key."""
_GUARDED_GETS: Final = frozenset({"/metrics", "/version"})
"""What can be read tells about the service; every other GET is a file of the playground or of the
documentation."""

_STALLED_S = 30.0
"""A body of which nothing more comes for so long is given up."""

_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """ASGI middleware that lets through what may come in, and nothing of a body before that.

    Args:
        app: What it guards.
        keys: Who may call.
        limits: What a caller may ask for.
        metrics: Figures.
    """

    def __init__(self, app: ASGIApp, keys: Keys, limits: Limits, metrics: Metrics) -> None:
        self._app = app
        self._keys = keys
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._counted(scope) as note:

            async def answering(message: Message) -> None:
                if message["type"] == "http.response.start":
                    note.append(str(message["status"]))
                    headers = MutableHeaders(scope=message)
                    for name, value in _HEADERS.items():
                        headers.setdefault(name, value)
                await send(message)

            try:
                await self._admit(scope, receive, answering)
            except ColPaliError as error:
                if note:  # the answer has begun, and cannot become another one
                    raise
                await answer(error)(scope, receive, answering)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if not _needs_key(scope):
            await self._app(scope, receive, send)
            return
        name = self._keys.owner(headers)
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        length = headers.get("content-length", "")
        self._limits.check_bytes(int(length) if re.fullmatch(r"\d{1,19}", length) else 0)
        with self._limits.slot(name), self._limits.holding() as held:
            token = CALLER.set(Caller(name, "http", counted=True))
            try:
                time_limit_s = self._limits.settings.time_limit_s
                await self._app(scope, _Body(receive, held, time_limit_s), send)
            finally:
                CALLER.reset(token)

    @contextmanager
    def _counted(self, scope: Scope) -> Iterator[list[str]]:
        began = time.monotonic()
        note: list[str] = []
        self._metrics.began("http")
        try:
            yield note
        finally:
            # Set where a route was found; a path of the caller's own must not become a label.
            route = getattr(scope.get("route"), "path", "") or "other"
            status = note[0] if note else "none"
            self._metrics.ended("http", route, status, time.monotonic() - began)


class _Body:
    """Hands a request's body on, as long as it is neither too large nor too slow."""

    def __init__(self, receive: Receive, held: Held, time_limit_s: float) -> None:
        self._receive = receive
        self._held = held
        self._complete = False
        self._end = time.monotonic() + time_limit_s

    async def __call__(self) -> Message:
        if self._complete:  # what comes now is that the caller leaves
            return await self._receive()
        try:
            async with asyncio.timeout(min(_STALLED_S, self._end - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise HttpError(
                408, f"the body stopped after {self._held.size} bytes, expected it to go on"
            ) from None
        if message["type"] == "http.request":
            self._held.add(len(message.get("body", b"")))
            self._complete = not message.get("more_body", False)
        return message


def _needs_key(scope: Scope) -> bool:
    if scope["path"] in OPEN:
        return False
    return scope["method"] not in ("GET", "HEAD") or scope["path"] in _GUARDED_GETS
