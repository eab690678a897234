"""`colpali-serve demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from colpali_serve.client.cli import options
from colpali_serve.client.cli.report import reporting, spare_torch


def demo(
    pages: Annotated[
        list[str] | None,
        typer.Option(help="Image, PDF or folder; may be repeated. [default: examples/pages]"),
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(help="What to look for; may be repeated. [default: examples/queries.json]"),
    ] = None,
    flow: Annotated[str, typer.Option(help="YAML of the Flow to start.")] = "flows/rank.yml",
    model: options.Model = None,
    device: options.Device = None,
    dpi: options.Dpi = 150,
    verbose: options.Verbose = False,
) -> None:
    """Start a Flow, embed pages, rank them for some queries, and stop the Flow.

    Without options it takes the pages and the queries that come with the project, and checks that
    each query finds its page. It leaves no process behind.

    **Examples**

    `colpali-serve demo`

    `colpali-serve demo --pages report.pdf --query "revenue by region"`
    """
    with reporting(verbose):
        spare_torch()
        from colpali_serve.client.cli.examples import choose
        from colpali_serve.client.cli.tour import tour

        tour(choose(pages, query), flow, model, device, dpi, verbose)
