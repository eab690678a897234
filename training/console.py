"""What the commands of this room say when something is wrong, or when they are interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from colpali_serve.schemas import ColPaliError

_INTERRUPTED = 130


@contextmanager
def reporting() -> Iterator[Console]:
    """Say an error of ours in one line, without a traceback; others go on.

    Yields:
        The console, on stderr, that is written to.

    Raises:
        typer.Exit: with status 1 after an error of ours, with 130 after an interruption.
    """
    console = Console(stderr=True)
    try:
        yield console
    except ColPaliError as error:
        console.print(error.message, style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        console.print("interrupted; the same command goes on from here", style="yellow")
        raise typer.Exit(_INTERRUPTED) from error


@contextmanager
def showing() -> Iterator[Progress]:
    """Progress with its pace and what is left, and errors told in a line."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with reporting() as console, Progress(*columns, console=console) as progress:
        yield progress
