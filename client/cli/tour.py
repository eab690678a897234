"""The demo, from the start of the Flow to its end."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.text import Text

from colpali_serve.client.blocking import ColPaliClient
from colpali_serve.client.cli.examples import Examples, Question
from colpali_serve.client.cli.report import stderr
from colpali_serve.client.cli.server import free_port, running, wait_until_ready
from colpali_serve.client.cli.tables import ranking_table
from colpali_serve.client.results import RankedPage

_SHOWN = 3
"""Pages shown for each query."""


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
    port = free_port()
    options = ["--model", model] if model else []
    options += ["--device", device] if device else []
    options += ["--verbose"] if verbose else []
    queries = [question.query for question in examples.questions]
    with running(flow, port, options) as process:
        with _Timer() as start, stderr().status("starting the Flow ..."):
            client = ColPaliClient("localhost", port, dpi=dpi, progress=True)
            wait_until_ready(process, client)
        console.print(f"start   {start}  the Flow is ready on port {port}")
        with _Timer() as embed:
            pages = client.embed_pages(examples.pages, on_error="keep")
        speed = len(pages) / embed.seconds
        console.print(f"embed   {embed}  {len(pages)} pages, {speed:.1f} pages/s")
        with _Timer() as rank:
            rankings = client.rank(queries, pages)
        console.print(f"rank    {rank}  {len(queries)} queries, embedded and scored")
        # gRPC would report the end of an open connection in its own words.
        client.close()
        with _Timer() as stop, stderr().status("stopping the Flow ..."):
            process.terminate()
            process.wait()
        console.print(f"stop    {stop}", "")
    for page in pages:
        if page.error is not None:
            console.print(page.error, style="yellow", markup=False)
    console.print(_results(examples.questions, rankings))
    console.print(_verdict(examples.questions, rankings))


class _Timer:
    """Measures how long its block takes."""

    def __enter__(self) -> Self:
        self.seconds = 0.0
        self._start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._start

    def __str__(self) -> str:
        return f"{self.seconds:8.2f} s"


def _place(question: Question, ranking: list[RankedPage]) -> int | None:
    return next((page.rank for page in ranking if page.id == question.page), None)


def _results(questions: list[Question], rankings: list[list[RankedPage]]) -> Group:
    tables: list[RenderableType] = []
    for question, ranking in zip(questions, rankings, strict=True):
        # The right page is shown wherever it came in.
        shown = [page for page in ranking if page.rank <= _SHOWN or page.id == question.page]
        tables.append(ranking_table(question.query, shown, question.page))
        if question.page is not None and _place(question, ranking) is None:
            tables.append(Text(f"{question.page} is not among the pages", "yellow"))
        tables.append("")
    return Group(*tables)


def _verdict(questions: list[Question], rankings: list[list[RankedPage]]) -> str:
    places = [
        _place(question, ranking)
        for question, ranking in zip(questions, rankings, strict=True)
        if question.page is not None
    ]
    if not places:
        return ""
    return f"right page first for {places.count(1)} of {len(places)} queries"
