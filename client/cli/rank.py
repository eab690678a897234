"""`colpali-serve rank`."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.console import Console

from colpali_serve.client.cli import options
from colpali_serve.client.cli.report import reporting, spare_torch, stderr


def rank(
    pages: Annotated[list[str], typer.Argument(help="Images, PDFs and folders of both.")],
    query: Annotated[list[str], typer.Option(help="What to look for; may be given repeatedly.")],
    top_k: Annotated[int, typer.Option(help="Pages to show for each query.", min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    host: options.Host = "localhost",
    port: options.Port = 54321,
    tls: options.Tls = False,
    dpi: options.Dpi = 150,
    batch_pages: options.BatchPages = 4,
    timeout_s: options.TimeoutS = 300.0,
    on_error: options.OnError = "raise",
    verbose: options.Verbose = False,
) -> None:
    """Rank pages by how well they answer a query.

    **Examples**

    `colpali-serve rank manual.pdf --query "how to replace the battery"`

    `colpali-serve rank scans/ --query invoice --query "delivery note" --top-k 3 --json`
    """
    with reporting(verbose):
        spare_torch()
        from colpali_serve.client.cli.connecting import connect
        from colpali_serve.client.cli.tables import ranking_json, ranking_table

        client = connect(host, port, tls=tls, dpi=dpi, batch_pages=batch_pages, timeout_s=timeout_s)
        start = time.monotonic()
        embedded = client.embed_pages(pages, on_error=on_error)
        middle = time.monotonic()
        rankings = client.rank(query, embedded, top_k)
        end = time.monotonic()
        for page in embedded:
            if page.error is not None:
                stderr().print(page.error, style="yellow", markup=False, soft_wrap=True)
        answers = list(zip(query, rankings, strict=True))
        if as_json:
            typer.echo(
                json.dumps(
                    {
                        "pages": len(embedded),
                        "seconds": {"embed": middle - start, "rank": end - middle},
                        "queries": [ranking_json(*answer) for answer in answers],
                    },
                    indent=2,
                    ensure_ascii=False,
                )
            )
            return
        console = Console()
        for answer in answers:
            console.print(ranking_table(*answer), "")
        console.print(
            f"{len(embedded)} pages embedded in {middle - start:.2f} s "
            f"({len(embedded) / (middle - start):.1f} pages/s), "
            f"{len(query)} queries ranked in {end - middle:.2f} s",
            highlight=False,
        )
