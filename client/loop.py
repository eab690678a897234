"""One event loop, in a thread of its own, that all clients of the process share.

Jina's client holds a lock of its class, for as long as a post takes, in whichever thread runs
the post's event loop. Posts of two threads would wait for each other there, blocking their whole
loops and missing their deadlines; within one thread the lock lets everything pass. Besides, gRPC's
asyncio is at its best with a single loop, and a client called from inside a running loop, as in a
notebook, may not run another one in the same thread.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")

_STOP_TIMEOUT_S = 5.0


class _LoopThread:
    """An event loop that runs until `stop`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        # A daemon, or the interpreter would wait for it before it gets to the exit handlers.
        self._thread = threading.Thread(target=self._run, name="colpali-client", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    def stop(self) -> None:
        """Cancel what is under way, close its connections and end the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_STOP_TIMEOUT_S)


_guard = threading.Lock()
_current: _LoopThread | None = None


def submit(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Start a coroutine on the shared loop.

    Args:
        work: Runs to its end unless the future is cancelled.

    Returns:
        Its result to come; may be waited for in any thread.
    """
    global _current
    with _guard:
        if _current is None:
            _current = _LoopThread()
        return asyncio.run_coroutine_threadsafe(work, _current.loop)


@atexit.register
def _stop() -> None:
    global _current
    with _guard:
        if _current is not None:
            _current.stop()
            _current = None


def _forget() -> None:
    """Forget the loop in a forked child: its thread stayed behind."""
    global _current, _guard
    _guard = threading.Lock()
    _current = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
