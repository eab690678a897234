"""The processes of a Flow."""

from __future__ import annotations

import io
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

# Here Jina's messages about exceptions go over to a traceback of its own insides.
_DETAILS = '\n add "--quiet-error"'


class _PodsOnly(io.TextIOBase):
    """Takes what Jina prints to stdout: what pods log goes to stderr, banners go nowhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._owner = os.getpid()

    def write(self, text: str) -> int:
        if sys.__stderr__ is None or (self._quiet and os.getpid() == self._owner):
            return len(text)
        shown, details, _ = text.partition(_DETAILS)
        sys.__stderr__.write(f"{shown}\n" if self._quiet and details else text)
        return len(text)

    def flush(self) -> None:
        if sys.__stderr__ is not None:
            sys.__stderr__.flush()

    def isatty(self) -> bool:
        return sys.__stderr__ is not None and sys.__stderr__.isatty()


@contextmanager
def pods_on_stderr(quiet: bool) -> Iterator[None]:
    """Keep stdout for what this program says.

    Args:
        quiet: Drop what Jina says in this process; its pods are forked from it and heard.
    """
    before = sys.stdout
    sys.stdout = _PodsOnly(quiet)
    try:
        yield
    finally:
        sys.stdout = before


def ended_pod(pods: Iterable[BaseProcess]) -> str | None:
    """Describe a pod that has ended; None while all are running."""
    for process in pods:
        if process.exitcode is not None:
            return f"the Flow's process {process.name} ended with exit code {process.exitcode}"
    return None


def end_pods(grace_s: float) -> None:
    """Leave no process behind.

    Args:
        grace_s: How long they may take to end by themselves, in seconds, all together.
    """
    end = time.monotonic() + grace_s
    for process in multiprocessing.active_children():
        process.join(max(end - time.monotonic(), 0))
        if process.is_alive():
            process.kill()
            process.join()
