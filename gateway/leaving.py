"""Callers that leave take their requests along: nothing is embedded that nobody waits for.

Jina lets a request run on when the stream that it came by has ended, and ending the task that
waits for an Executor does not end the call to it: Jina awaits the call's trailing metadata, which
is no reason for gRPC to cancel it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from grpc.aio import UnaryUnaryClientInterceptor

_RUNNING: ContextVar[set[Any] | None] = ContextVar("running", default=None)
"""Tasks and calls of the stream that is served; whatever is started for it inherits this."""


@contextmanager
def called_off_at_the_end() -> Iterator[None]:
    """Cancel, when the block ends, what :func:`belongs` and the calls to Executors are still at."""
    running: set[Any] = set()
    token = _RUNNING.set(running)
    try:
        yield
    finally:
        for one in [*running]:
            one.cancel()
        # A generator may be closed in another context than it was begun in.
        with suppress(ValueError):
            _RUNNING.reset(token)


def belongs(task: asyncio.Future[Any]) -> None:
    """Note a task of the stream that is served."""
    _note(task)


class CallsOfStreams(UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Notes the calls to Executors that are made for a stream."""

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Make the call, and note it."""
        call = await continuation(client_call_details, request)
        _note(call)
        return call


def _note(one: Any) -> None:
    running = _RUNNING.get()
    if running is not None:
        running.add(one)
        one.add_done_callback(running.discard)
