"""A progress bar for people who wait at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        seconds = task.finished_time or task.elapsed
        speed = f"{task.completed / seconds:.1f} pages/s" if seconds else ""
        return Text(speed, style="progress.data.speed")


@contextmanager
def progress_bar(asked: bool, count: Callable[[], int | None]) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr if it was asked for and stderr is a terminal.

    Args:
        asked: Whether the caller wants one.
        count: Tells the number of pages if it is known; called only for a bar that is shown.

    Yields:
        A function to be called with the number of pages that have just been done.
    """
    if not (asked and sys.stderr.isatty()):
        yield lambda pages: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("embedding pages", total=count())
        yield lambda pages: progress.advance(task, pages)
