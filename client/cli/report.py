"""What commands say, and how they end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

_INTERRUPTED = 130
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def stderr() -> Console:
    """Return a console for messages."""
    return Console(stderr=True, highlight=False)


@contextmanager
def reporting(verbose: bool) -> Iterator[None]:
    """End a command that fails with one clear line instead of a traceback.

    Args:
        verbose: Let the traceback through.

    Raises:
        typer.Exit: With code 1 after an error of ours, 130 after Ctrl-C or a signal to end.
    """
    with _ending_like_ctrl_c():
        try:
            yield
        except KeyboardInterrupt:
            stderr().print("stopped")
            raise typer.Exit(_INTERRUPTED) from None
        except Exception as error:
            if verbose or not _is_ours(error):
                raise
            stderr().print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(1) from None


def _is_ours(error: Exception) -> bool:
    # Imported by now if there is one, and not worth importing if there is none.
    errors = sys.modules.get("colpali_serve.schemas.errors")
    return errors is not None and isinstance(error, errors.ColPaliError)


@contextmanager
def _ending_like_ctrl_c() -> Iterator[None]:
    """Make SIGTERM and a closed terminal unwind the stack, so that everything is cleaned up."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def spare_torch() -> None:
    """Keep torch out of a process that only sends and receives.

    docarray imports torch wherever it is installed, which takes two seconds and 300 MB. None in
    this place makes Python say that there is no such module. Not for a process that serves.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("torch", None)
