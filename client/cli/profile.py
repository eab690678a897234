"""`colpali-serve profile`."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.console import Console

from colpali_serve.client.cli import options
from colpali_serve.client.cli.report import reporting, stderr

_MADE_UP = 32


def profile(
    pages: Annotated[list[str], typer.Argument(help="Images, PDFs and folders of both.")],
    query: Annotated[
        list[str] | None,
        typer.Option(help="What people look for; may be repeated. [default: parts of the pages]"),
    ] = None,
    pool_factor: Annotated[
        list[int] | None,
        typer.Option(help="Try 1 in POOL_FACTOR vectors; may be repeated. [default: 1, 2, 3]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    host: options.Host = "localhost",
    port: options.Port = 54321,
    tls: options.Tls = False,
    dpi: options.Dpi = 150,
    batch_pages: options.BatchPages = 4,
    timeout_s: options.TimeoutS = 300.0,
    verbose: options.Verbose = False,
) -> None:
    """Measure what each form of an embedding costs and loses on your own pages.

    The service embeds the pages in float32. Then each form, float32, float16, int8 and binary, of
    all vectors and of fewer, is scored on this machine: bytes a page, milliseconds a query, and
    how well its ranking agrees with the exact one. Where no queries are given, parts of the pages
    stand in for them, blurred; the more pages and real queries, the more the figures say.

    **Examples**

    `colpali-serve profile archive/ --query "invoice of March" --query "delivery note"`

    `colpali-serve profile manual.pdf --pool-factor 1 --pool-factor 4 --json`
    """
    with reporting(verbose):
        from colpali_serve.client.cli.connecting import connect
        from colpali_serve.client.cli.tables import profile_table

        client = connect(host, port, tls=tls, dpi=dpi, batch_pages=batch_pages, timeout_s=timeout_s)
        embedded = client.embed_pages(pages, embedding_dtype="float32")
        vectors: list[Any] = [page.embedding for page in embedded]
        # Of the engine only what this command needs, and only now: pooling brings torch.
        engine = import_module("colpali_serve.engine.maxsim.profiling")
        if query:
            found = client.embed_queries(query, embedding_dtype="float32")
            asked: list[Any] = [each.embedding for each in found]
        else:
            asked = engine.made_up_queries(vectors, max(_MADE_UP, min(len(vectors), 4 * _MADE_UP)))
        with stderr().status("scoring every form ..."):
            profiles = engine.profile(asked, vectors, pool_factor or (1, 2, 3))
        best = engine.recommend(profiles)
        if as_json:
            rows = [_figures(each) for each in profiles]
            text = {"pages": len(vectors), "queries": len(asked), "forms": rows}
            typer.echo(json.dumps({**text, "recommended": _figures(best)}, indent=2))
            return
        console = Console()
        console.print(profile_table(profiles, best))
        kind = "queries" if query else "queries made of the pages' own parts"
        console.print(
            f"{len(vectors)} pages, {len(asked)} {kind}. Recommended: embedding_dtype "
            f"{best.embedding_dtype}, pool_factor {best.pool_factor}",
            highlight=False,
        )


def _figures(one: Any) -> dict[str, Any]:
    return {
        "embedding_dtype": one.embedding_dtype,
        "pool_factor": one.pool_factor,
        "page_bytes": round(one.page_bytes),
        "query_ms": one.query_ms,
        "ndcg_at_5": one.ndcg,
        "recall_at_5": one.recall,
    }
