"""The demo, from the start of the Flow to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from colpali_serve.client.blocking import ColPaliClient
from colpali_serve.client.cli.examples import Examples, Question
from colpali_serve.client.cli.report import stderr
from colpali_serve.client.cli.server import free_port, running, wait_until_ready
from colpali_serve.client.results import RankedPage


def tour(
    examples: Examples,
    flow: str,
    model: str | None,
    device: str | None,
    dpi: int,
    verbose: bool,
) -> None:
    """Start the Flow, embed, rank, print, and stop the Flow.

    Args:
        examples: What to look at.
        flow: YAML of the Flow.
        model: For the Flow; None leaves it to the Flow.
        device: For the Flow; None leaves it to the Flow.
        dpi: Resolution at which PDF pages are rendered.
        verbose: Show what Jina says.

    Raises:
        ServiceUnavailableError: The Flow did not start.
    """
    console = Console(highlight=False)
    seconds: dict[str, float] = {}
    port = free_port()
    options = ["--model", model] if model else []
    options += ["--device", device] if device else []
    options += ["--verbose"] if verbose else []
    with running(flow, port, options) as process:
        with _timed(seconds, "start"), stderr().status("starting the Flow ..."):
            client = ColPaliClient("localhost", port, dpi=dpi, progress=True)
            wait_until_ready(process, client)
        with _timed(seconds, "embed"):
            pages = client.embed_pages(examples.pages, on_error="keep")
        with _timed(seconds, "rank"):
            rankings = client.rank([question.query for question in examples.questions], pages)
        for page in pages:
            if page.error is not None:
                console.print(page.error, style="yellow", markup=False)
        console.print(_results(examples.questions, rankings))
        with _timed(seconds, "stop"), stderr().status("stopping the Flow ..."):
            # The surest way to know how long it takes is to do it here.
            process.terminate()
            process.wait()
    console.print(_summary(examples, len(pages), seconds))
    console.print(_verdict(examples.questions, rankings))


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[phase] = time.monotonic() - start


def _place(question: Question, ranking: list[RankedPage]) -> int | None:
    return next((page.rank for page in ranking if page.id == question.page), None)


def _results(questions: list[Question], rankings: list[list[RankedPage]]) -> Table:
    known = any(question.page for question in questions)
    table = Table("query", "best pages", title="What was found", title_justify="left")
    table.add_column("score", justify="right")
    if known:
        table.add_column("expected")
    for question, ranking in zip(questions, rankings, strict=True):
        best = ranking[: 1 if known else 3]
        row: list[RenderableType] = [
            Text(question.query),
            Text("\n".join(page.id for page in best)),
            "\n".join(f"{page.score:.2f}" for page in best),
        ]
        if known:
            place = _place(question, ranking)
            found = Text("first", "green") if place == 1 else Text(f"{question.page}: {place}")
            row.append(found)
        table.add_row(*row)
    return table


def _summary(examples: Examples, pages: int, seconds: dict[str, float]) -> Table:
    table = Table("phase", title="How long it took", title_justify="left")
    table.add_column("seconds", justify="right")
    table.add_column("")
    notes = {
        "start": "load the model, start three processes",
        "embed": f"{pages} pages, {pages / seconds['embed']:.1f} pages/s",
        "rank": f"{len(examples.questions)} queries, embedded and scored against all pages",
        "stop": "",
    }
    for phase, note in notes.items():
        table.add_row(phase, f"{seconds[phase]:.2f}", note)
    return table


def _verdict(questions: list[Question], rankings: list[list[RankedPage]]) -> str:
    known = [
        _place(question, ranking)
        for question, ranking in zip(questions, rankings, strict=True)
        if question.page is not None
    ]
    if not known:
        return ""
    return f"right page first for {known.count(1)} of {len(known)} queries"
