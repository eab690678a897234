"""`colpali-serve embed`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from colpali_serve.client.cli import options
from colpali_serve.client.cli.report import reporting, spare_torch, stderr


def embed(
    sources: Annotated[list[str], typer.Argument(help="Images, PDFs and folders of both.")],
    out: Annotated[
        Path, typer.Option(help="File to write: .npz (written page by page) or .safetensors.")
    ],
    host: options.Host = "localhost",
    port: options.Port = 54321,
    tls: options.Tls = False,
    dtype: Annotated[
        Literal["float16", "float32", "int8", "binary"],
        typer.Option(help="Form of the embeddings; int8 has one scale a page, binary keeps signs."),
    ] = "float16",
    pool_factor: Annotated[
        int | None,
        typer.Option(help="Keep about 1 in POOL_FACTOR vectors of a page.", min=1),
    ] = None,
    dpi: options.Dpi = 150,
    batch_pages: options.BatchPages = 4,
    timeout_s: options.TimeoutS = 300.0,
    on_error: options.OnError = "raise",
    verbose: options.Verbose = False,
) -> None:
    """Embed pages and write the embeddings to a file.

    The file holds one array (n_vectors, dim) a page, under the page's name: `scan.png`, or
    `manual.pdf#3` for the third page of a PDF. A .safetensors file also has the names in order,
    the patch grids, the parts of pages that they cover and the scales of int8 and binary pages in
    its metadata; a .npz file has each such scale under the page's name and `.scale`.

    **Examples**

    `colpali-serve embed scans/ manual.pdf --out pages.npz`

    `colpali-serve embed archive/ --out archive.safetensors --pool-factor 3 --on-error keep`
    """
    with reporting(verbose):
        spare_torch()
        from colpali_serve.client.cli.connecting import connect
        from colpali_serve.client.cli.store import check_path, writing

        check_path(out)
        client = connect(host, port, tls=tls, dpi=dpi, batch_pages=batch_pages, timeout_s=timeout_s)
        start = time.monotonic()
        pages, failed = 0, 0
        with writing(out) as file:
            for page in client.embed_pages_iter(
                sources, embedding_dtype=dtype, pool_factor=pool_factor, on_error=on_error
            ):
                pages += 1
                if page.error is None:
                    file.add(page)
                    continue
                failed += 1
                stderr().print(page.error, style="yellow", markup=False, soft_wrap=True)
        seconds = time.monotonic() - start
        text = f"{pages - failed} pages in {seconds:.1f} s ({pages / seconds:.1f} pages/s) in {out}"
        typer.echo(text + (f", {failed} failed" if failed else ""))
        if pages == failed:
            raise typer.Exit(1)
