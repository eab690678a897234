"""MaxSim on a CUDA card: our backends beside every peer that is installed.

    python -m benchmarks.maxsim_card [--shapes 0,1,2] [--repeats 15]

Queries come from the host and scores go back there; pages lie on the card, which has finished
before the clock stops. Contenders take turns.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from benchmarks.maxsim_contenders import Contender, Score, ours, versions
from benchmarks.maxsim_shapes import DIM, SHAPES, TOKENS, Array, Shape, exact, made

_ROOT = Path(__file__).resolve().parent.parent
_NOTES = Console(stderr=True)
_EXACT_PAGES = 100
_COPIED_BYTES = 1 << 30
# A card takes more than a core.
CARD_SHAPES = (*SHAPES, replace(SHAPES[1], pages=10_000), replace(SHAPES[2], pages=10_000))
_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "int8": 1.0, "binary": 0.125}


def main(
    shapes: Annotated[str, typer.Option(help="Which of the shapes; empty: all.")] = "",
    repeats: Annotated[int, typer.Option(help="Runs of each contender.", min=1)] = 15,
    out: Annotated[Path, typer.Option(help="All figures as JSON.")] = _ROOT
    / "benchmarks/maxsim_card.json",
) -> None:
    """Measure and print one table a shape; without a card, say so."""
    if not torch.cuda.is_available():
        print("MaxSim on a card: there is none here")  # noqa: T201
        return
    copied = copy_bandwidth("cuda")
    name = torch.cuda.get_device_name()
    report: dict[str, Any] = {"card": name, "versions": versions(), "copy_gb_s": copied}
    print(f"{name}, copies {copied:.0f} GB/s (read and written)\n")  # noqa: T201
    for number in map(int, shapes.split(",")) if shapes else range(len(CARD_SHAPES)):
        shape = CARD_SHAPES[number]
        rows = measure(shape, contenders("cuda"), repeats, "cuda")
        report[shape.name] = rows
        print(table(shape, rows, copied) + "\n")  # noqa: T201
    out.write_text(json.dumps(report, indent=1))
    _NOTES.print(f"wrote {out.name}")


def contenders(device: str) -> list[Contender]:
    """All of them, the one that the others are compared with first.

    The last word of a name is what a page's values lie in.
    """
    found = [
        Contender("colpali-engine float32", _colpali(torch.float32, device)),
        Contender("colpali-engine bfloat16", _colpali(torch.bfloat16, device)),
        Contender("late-interaction-kernels float16", _late_interaction(device)),
        Contender("flash-maxsim float16", _flash(device)),
    ]
    for backend in ("torch", "triton"):
        for precision, dtype in (("float32", "float32"), ("auto", "float16"), ("auto", "int8"),
                                 ("auto", "binary")):  # fmt: skip
            prepare = ours(backend, precision, dtype, device)
            found.append(Contender(f"{backend} {dtype}", prepare))
    return found


def measure(
    shape: Shape, chosen: list[Contender], repeats: int, device: str
) -> dict[str, dict[str, Any]]:
    """Take everybody's time, and the largest error of the first pages' scores.

    Args:
        shape: What is scored.
        chosen: Who.
        repeats: Runs of each.
        device: Where.
    """
    queries, pages = made(shape)
    truth = exact(queries, pages[:_EXACT_PAGES])
    rows: dict[str, dict[str, Any]] = {}
    ready: dict[str, Score] = {}
    for each in chosen:
        rows[each.name] = {}
        try:
            score = each.prepare(pages)
            score(queries)  # compiles, and tries tiles where a peer does so
            error = np.abs(score(queries)[:, :_EXACT_PAGES] - truth).max()
        except Exception as failure:  # noqa: BLE001  (a peer that fails says so in its row)
            rows[each.name]["failure"] = f"{type(failure).__name__}: {failure}"[:80]
            continue
        rows[each.name] |= {"error": float(error), "seconds": []}
        ready[each.name] = score
    for _ in range(repeats):
        for name, score in ready.items():
            _finish(device)
            began = time.perf_counter()
            score(queries)
            _finish(device)
            rows[name]["seconds"].append(time.perf_counter() - began)
    values = DIM * sum(len(page) for page in pages)
    for name in ready:
        median = statistics.median(rows[name]["seconds"])
        rows[name]["median_s"] = median
        rows[name]["gb_s"] = values * _BYTES[name.split()[-1]] / median / 1e9
        rows[name]["tf_s"] = 2 * values * shape.queries * TOKENS / median / 1e12
    return rows


def table(shape: Shape, rows: dict[str, dict[str, Any]], copied: float) -> str:
    """A Markdown table.

    Args:
        shape: What was scored.
        rows: What `measure` found.
        copied: GB/s of a copy, read and written.
    """
    lines = [
        f"{shape.name} ({TOKENS} vectors a query, on a card)",
        "",
        "| | ms | ratio | pages' GB/s | of copying | TF/s | largest error |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    base = next(iter(rows.values())).get("median_s", float("nan"))
    for name, row in rows.items():
        if "failure" in row:
            lines.append(f"| {name} | {row['failure']} | | | | | |")
            continue
        cells = [
            name,
            f"{1000 * row['median_s']:.3f}",
            f"{base / row['median_s']:.2f}",
            f"{row['gb_s']:.0f}",
            f"{row['gb_s'] / copied:.0%}",
            f"{row['tf_s']:.1f}",
            f"{row['error']:.2g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def copy_bandwidth(device: str, size: int = _COPIED_BYTES) -> float:
    """GB/s of a copy within a device's memory, read and written, the best of ten.

    Args:
        device: Where.
        size: Bytes of what is copied.
    """
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(10):
        _finish(device)
        began = time.perf_counter()
        target.copy_(source)
        _finish(device)
        best = max(best, 2 * size / (time.perf_counter() - began) / 1e9)
    return best


def _finish(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def _colpali(dtype: torch.dtype, device: str) -> Callable[[list[Array]], Score]:
    def prepare(pages: list[Array]) -> Score:
        from colpali_engine.utils.processing_utils import BaseVisualRetrieverProcessor

        score = BaseVisualRetrieverProcessor.score_multi_vector
        tensors = [torch.from_numpy(page).to(device, dtype) for page in pages]

        def run(queries: list[Array]) -> Array:
            wanted = [torch.from_numpy(query).to(device, dtype) for query in queries]
            return np.asarray(score(wanted, tensors, device=device).float().cpu().numpy())

        return run

    return prepare


def _late_interaction(device: str) -> Callable[[list[Array]], Score]:
    def prepare(pages: list[Array]) -> Score:
        from late_interaction_kernels import maxsim_varlen

        rows, ends, longest = _packed(pages, device)

        def run(queries: list[Array]) -> Array:
            wanted, starts, most = _packed(queries, device)
            with torch.no_grad():
                found = maxsim_varlen(wanted, rows, starts, ends, most, longest)
            return np.asarray(found.cpu().numpy())

        return run

    return prepare


def _flash(device: str) -> Callable[[list[Array]], Score]:
    def prepare(pages: list[Array]) -> Score:
        from flash_maxsim import flash_maxsim_packed

        rows, ends, longest = _packed(pages, device)

        def run(queries: list[Array]) -> Array:
            # It takes one query at a time.
            wanted = [torch.from_numpy(query).to(device).half() for query in queries]
            found = [flash_maxsim_packed(query, rows, ends, longest) for query in wanted]
            return np.asarray(torch.stack(found).float().cpu().numpy())

        return run

    return prepare


def _packed(items: list[Array], device: str) -> tuple[torch.Tensor, torch.Tensor, int]:
    """All vectors in float16, where each item begins and ends, and the longest one's length."""
    lengths = [len(item) for item in items]
    rows = torch.from_numpy(np.concatenate(items)).to(device).half()
    ends = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device=device)
    return rows, ends, max(lengths)


if __name__ == "__main__":
    typer.run(main)
