"""One description of the work for both clients.

Work that posts is written once, as a plain generator of steps: a step is either a future that
the work now waits for, or a list of results that are done. The blocking client waits for a step
in the caller's thread, the asynchronous one in the caller's event loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from typing import Any, TypeAlias, TypeVar

Result = TypeVar("Result")
Request = TypeVar("Request")
Answer = TypeVar("Answer")
Other = TypeVar("Other")

Step: TypeAlias = "Future[Any] | list[Result]"
Steps: TypeAlias = "Generator[Step[Result], None, None]"


def pipelined(
    requests: Steps[Request],
    post: Callable[[Request], Future[Answer]],
    limit: int,
) -> Steps[tuple[Request, Answer]]:
    """Post requests so that `limit` of them are under way while the next one is prepared.

    Args:
        requests: Steps that give requests, in order.
        post: Starts one.
        limit: Posts at a time.

    Yields:
        Steps that give requests with their answers, in the order of the requests.
    """
    window: deque[tuple[Request, Future[Answer]]] = deque()

    def oldest() -> Steps[tuple[Request, Answer]]:
        request, future = window[0]
        if not future.done():
            yield future
        window.popleft()
        yield [(request, future.result())]

    try:
        with contextlib.closing(requests):
            for step in requests:
                if isinstance(step, Future):
                    yield step
                    continue
                for request in step:
                    while len(window) >= limit or (window and window[0][1].done()):
                        yield from oldest()
                    window.append((request, post(request)))
        while window:
            yield from oldest()
    finally:
        for _, future in window:
            future.cancel()


def mapped(steps: Steps[Result], change: Callable[[Result], list[Other]]) -> Steps[Other]:
    """Replace each result by any number of others."""
    with contextlib.closing(steps):
        for step in steps:
            if isinstance(step, Future):
                yield step
            else:
                yield [other for result in step for other in change(result)]


def collected(steps: Steps[Result]) -> Generator[Future[Any], None, list[Result]]:
    """Wait for all results; to be used with ``yield from``."""
    results: list[Result] = []
    with contextlib.closing(steps):
        for step in steps:
            if isinstance(step, Future):
                yield step
            else:
                results += step
    return results


def run(steps: Steps[Result]) -> Iterator[Result]:
    """Do the work in this thread.

    Yields:
        Its results, as they come.
    """
    with contextlib.closing(steps):
        for step in steps:
            if isinstance(step, Future):
                concurrent.futures.wait([step])
            else:
                yield from step


async def run_async(steps: Steps[Result]) -> AsyncIterator[Result]:
    """Do the work without blocking the event loop.

    Files are read and pages are rendered in between steps, so those run in worker threads.

    Yields:
        The results, as they come.
    """
    while True:
        advance = asyncio.ensure_future(asyncio.to_thread(_next, steps))
        try:
            step = await asyncio.shield(advance)
        except asyncio.CancelledError:
            # The thread cannot be stopped in the middle of a page; clean up when it is through.
            advance.add_done_callback(lambda done: _abandon(done, steps))
            raise
        if step is None:
            return
        try:
            if isinstance(step, Future):
                await _until_done(step)
                continue
            for result in step:
                yield result
        except BaseException:
            steps.close()
            raise


def _next(steps: Steps[Result]) -> Step[Result] | None:
    return next(steps, None)


def _abandon(advance: asyncio.Future[Any], steps: Steps[Any]) -> None:
    # A cancelled one is still running in its thread, and is closed when that lets go of it.
    if not advance.cancelled():
        # Nobody waits for it any more; asking marks it as seen.
        advance.exception()
        steps.close()


async def _until_done(future: Future[Any]) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def wake(_: Future[Any]) -> None:
        # The loop may be gone if its caller was cancelled, and then nobody is waiting.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(wake)
    await done.wait()
