"""How long /score_embeddings takes through flows/rank.yml, pages in the request and resident.

python -m benchmarks.maxsim_flow [--pages 32] [--queries 2]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.maxsim_shapes import Shape, made
from benchmarks.models import BUNDLED, folder_of
from benchmarks.serving import Service, served
from colpali_serve.client import ColPaliClient, PageEmbedding
from colpali_serve.schemas import Compressed, compress

_ROOT = Path(__file__).resolve().parent.parent
_MORE = 1000
"""Resident pages of the second part."""


def main(
    pages: Annotated[int, typer.Option(help="In a request.", min=1)] = 32,
    queries: Annotated[int, typer.Option(help="In a request.", min=1)] = 2,
    repeats: Annotated[int, typer.Option(help="Posts of each kind.", min=1)] = 21,
) -> None:
    """Measure and print a table."""
    wanted, floats = made(Shape(queries, _MORE, 1030, 1030))
    asked = [query.astype(np.float16) for query in wanted]
    lines = ["| | median ms | best ms | CPU ms, caller + service |", "|---|---:|---:|---:|"]

    def measured(service: Service, name: str, post: Callable[[], Any]) -> None:
        post()
        taken = []
        caller, served = time.process_time(), service.cpu_seconds()
        for _ in range(repeats):
            began = time.perf_counter()
            post()
            taken.append(1000 * (time.perf_counter() - began))
        cpu = [time.process_time() - caller, service.cpu_seconds() - served]
        shown = " + ".join(f"{1000 * seconds / repeats:.0f}" for seconds in cpu)
        lines.append(f"| {name} | {statistics.median(taken):.1f} | {min(taken):.1f} | {shown} |")

    with folder_of(BUNDLED) as folder, served(_ROOT / "flows" / "rank.yml", folder, {}) as service:
        client = ColPaliClient("127.0.0.1", service.port)
        for dtype in ("float32", "float16", "int8", "binary"):
            some = [compress(page, dtype) for page in floats[:pages]]  # type: ignore[arg-type]
            measured(
                service,
                f"{queries} x {pages} pages, {dtype}, in the request",
                lambda some=some: client.score(asked, some),
            )
        for dtype in ("float16", "int8", "binary"):
            for start in range(0, _MORE, 100):
                part = floats[start : start + 100]
                ids = [str(number) for number in range(start, start + len(part))]
                client.put_pages(
                    [_named(name, page, dtype) for name, page in zip(ids, part, strict=True)]
                )
            measured(
                service,
                f"{queries} x {_MORE} resident pages, {dtype}, the best 10",
                lambda: client.rank_resident(asked, top_k=10),
            )
            few = [str(number) for number in range(pages)]
            measured(
                service,
                f"{queries} x {pages} resident pages by their ids, {dtype}",
                lambda few=few: client.score_resident(asked, few),
            )
            client.drop_pages()
    print("\n".join(lines))  # noqa: T201  (a table is what it is for)


def _named(name: str, page: Any, dtype: Any) -> Any:
    found = compress(page, dtype)
    if isinstance(found, Compressed):
        return PageEmbedding(name, found.values, scale=found.scale)
    return PageEmbedding(name, found)


if __name__ == "__main__":
    typer.run(main)
