"""Ctrl-C and SIGTERM for a process that serves."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """Somebody wants the service to stop and not to wait for anything.

    A kind of KeyboardInterrupt because asyncio, in which Jina waits for its pods, swallows every
    other one that is raised from a signal handler.
    """


class Stopper:
    """Remembers that a signal to stop has come.

    While `starting` is set, and when a second signal comes, it raises `Stopped` at once.
    """

    def __init__(self) -> None:
        self.starting = True
        self._wanted = threading.Event()
        self._owner = os.getpid()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the signal; return whether it has come."""
        return self._wanted.wait(timeout_s)

    def handle(self, number: int, frame: Any) -> None:
        """Take a signal.

        Raises:
            Stopped: Nothing is served yet, or it is the second one.
        """
        if os.getpid() != self._owner:
            # A pod that was forked a moment ago and has no handlers of its own yet.
            return
        again = self._wanted.is_set()
        self._wanted.set()
        if self.starting or again:
            raise Stopped


@contextmanager
def stopping() -> Iterator[Stopper]:
    """Handle signals to stop; what they interrupt ends here, and that is no failure.

    Yields:
        What remembers the signals.
    """
    stopper = Stopper()
    before = {number: signal.signal(number, stopper.handle) for number in _SIGNALS}
    try:
        yield stopper
    except Stopped:
        typer.echo("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
