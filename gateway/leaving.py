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

_RUNNING: ContextVar[tuple[set[Any], ...]] = ContextVar("running", default=())
"""Tasks and calls of the stream that is served, and of the one request of it that is handled;
whatever is started for them inherits this."""


@contextmanager
def called_off_at_the_end() -> Iterator[None]:
    """Cancel, when the block ends, what :func:`belongs` and the calls to Executors are still at."""
    running: set[Any] = set()
    token = _RUNNING.set((running,))
    try:
        yield
    finally:
        call_off(running)
        # A generator may be closed in another context than it was begun in.
        with suppress(ValueError):
            _RUNNING.reset(token)


@contextmanager
def noting() -> Iterator[set[Any]]:
    """Yield a set to which the calls are added that are started for one request in the block."""
    own: set[Any] = set()
    token = _RUNNING.set((*_RUNNING.get(), own))
    try:
        yield own
    finally:
        _RUNNING.reset(token)


def call_off(running: set[Any]) -> None:
    """Cancel tasks and calls that are still under way."""
    for one in [*running]:
        one.cancel()


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
    for running in _RUNNING.get():
        running.add(one)
        one.add_done_callback(running.discard)
