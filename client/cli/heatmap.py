"""`colpali-serve heatmap`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from colpali_serve.client.cli import options
from colpali_serve.client.cli.report import reporting, spare_torch


def heatmap(
    page: Annotated[str, typer.Argument(help="Image, or PDF with --page.")],
    query: Annotated[str, typer.Argument(help="What to look for.")],
    out: Annotated[Path, typer.Option(help="PNG to write: the page, coloured.")],
    number: Annotated[
        int | None, typer.Option("--page", help="Page of a PDF of several, from 1.", min=1)
    ] = None,
    token: Annotated[
        int | None,
        typer.Option(help="Colour for one token only, by its number. [default: all]", min=1),
    ] = None,
    host: options.Host = "localhost",
    port: options.Port = 54321,
    tls: options.Tls = False,
    dpi: options.Dpi = 150,
    timeout_s: options.TimeoutS = 300.0,
    verbose: options.Verbose = False,
) -> None:
    """Draw where on a page the words of a query find their like.

    Prints the query's tokens with the best similarity that each has with any patch of the page.

    **Examples**

    `colpali-serve heatmap scan.png "total of the invoice" --out seen.png`

    `colpali-serve heatmap manual.pdf "battery" --page 12 --out seen.png`
    """
    with reporting(verbose):
        spare_torch()
        from colpali_serve.client.cli.connecting import connect
        from colpali_serve.client.cli.tables import token_table
        from colpali_serve.client.overlay import encode
        from colpali_serve.schemas import ConfigError

        if out.suffix.lower() != ".png" or not out.parent.is_dir():
            raise ConfigError(
                f"--out is {out}, expected a name ending in .png in a folder that exists"
            )
        client = connect(host, port, tls=tls, dpi=dpi, timeout_s=timeout_s)
        found = client.heatmap(query, page, number)
        if token is not None and token > len(found.tokens):
            raise ConfigError(f"--token is {token}, expected 1 to {len(found.tokens)}")
        drawn = found.overlay(None if token is None else token - 1)
        out.write_bytes(encode(drawn))
        Console().print(token_table(found))
