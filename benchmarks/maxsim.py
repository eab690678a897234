"""MaxSim against every peer that is installed, on one thread, in one interleaved run.

    python -m benchmarks.maxsim [--shapes 0,1,2] [--repeats 5]

Contenders take turns, so that a noisy machine is noisy for all of them; read the ratios. What is
counted is CPU time: on a core that others use, too, the clock would count their work.
"""

from __future__ import annotations

import os

if __name__ == "__main__":
    # Before anything starts threads of its own.
    os.environ.update(OMP_NUM_THREADS="1", RAYON_NUM_THREADS="1", MKL_NUM_THREADS="1")

import ctypes
import gc
import json
import multiprocessing
import platform
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from benchmarks.maxsim_contenders import Contender, Score, contenders, versions
from benchmarks.maxsim_shapes import DIM, SHAPES, TOKENS, Shape, exact, made
from benchmarks.peaks import Peaks, read_bandwidth

_ROOT = Path(__file__).resolve().parent.parent
_NOTES = Console(stderr=True)
_EXACT_PAGES = 100
_MEMORY_SHAPE = SHAPES[2]


def main(
    shapes: Annotated[str, typer.Option(help="Which of the shapes; empty: all.")] = "",
    only: Annotated[str, typer.Option(help="Contenders whose names hold one of these words.")] = "",
    repeats: Annotated[int, typer.Option(help="Runs of each contender.", min=1)] = 5,
    memory: Annotated[bool, typer.Option(help="Measure memory, too.")] = True,
    out: Annotated[Path, typer.Option(help="All figures as JSON.")] = _ROOT
    / "benchmarks/maxsim.json",
) -> None:
    """Measure and print one table a shape."""
    torch.set_num_threads(1)
    everybody = contenders()
    words = [word for word in only.split(",") if word]
    chosen = [each for each in everybody if not words or any(w in each.name for w in words)]
    if everybody[0] not in chosen:
        chosen.insert(0, everybody[0])
    peaks = Peaks()
    report: dict[str, Any] = {"machine": platform.processor(), "versions": versions(), "shapes": {}}
    for number in map(int, shapes.split(",")) if shapes else range(len(SHAPES)):
        rows = _measure(SHAPES[number], chosen, repeats, peaks)
        report["shapes"][SHAPES[number].name] = rows
        print(_table(SHAPES[number], rows, peaks) + "\n")  # noqa: T201  (a table is what it is for)
    report["peaks"], report["read_gb_s"] = peaks.best, read_bandwidth()
    figures = ", ".join(f"{name} {speed:.0f}" for name, speed in peaks.best.items())
    print(f"Peaks of one core, GF/s: {figures}; memory {report['read_gb_s']:.1f} GB/s\n")  # noqa: T201
    if memory:
        report["memory"] = {each.name: _memory(each.name) for each in chosen}
        print(_memory_table(report["memory"]))  # noqa: T201
    out.write_text(json.dumps(report, indent=1))
    _NOTES.print(f"wrote {out.name}")


def _measure(
    shape: Shape, chosen: list[Contender], repeats: int, peaks: Peaks
) -> dict[str, dict[str, Any]]:
    queries, pages = made(shape)
    truth = exact(queries, pages[:_EXACT_PAGES])
    rows: dict[str, dict[str, Any]] = {}
    ready: dict[str, Score] = {}
    for each in chosen:
        rows[each.name] = {"peak": each.peak}
        try:
            score = each.prepare(pages)
            found = score(queries)  # warms up
            error = np.abs(found[:, :_EXACT_PAGES] - truth).max()
        except Exception as failure:  # noqa: BLE001  (a peer that fails says so in its row)
            rows[each.name]["failure"] = f"{type(failure).__name__}: {failure}"[:80]
            continue
        rows[each.name] |= {"error": float(error), "seconds": []}
        ready[each.name] = score
    for repeat in range(repeats):
        peaks.measure()
        for name, score in ready.items():
            began = time.process_time()
            score(queries)
            rows[name]["seconds"].append(time.process_time() - began)
        _NOTES.print(f"  {shape.name}: {repeat + 1}/{repeats}")
    operations = 2 * shape.queries * TOKENS * DIM * sum(len(page) for page in pages)
    for name in ready:
        rows[name]["median_s"] = statistics.median(rows[name]["seconds"])
        rows[name]["gf_s"] = operations / rows[name]["median_s"] / 1e9
        # Peaks are the best that was seen, too.
        rows[name]["best_gf_s"] = operations / min(rows[name]["seconds"]) / 1e9
    ready.clear()
    gc.collect()
    return rows


def _table(shape: Shape, rows: dict[str, dict[str, Any]], peaks: Peaks) -> str:
    lines = [
        f"{shape.name} ({TOKENS} vectors a query, one thread)",
        "",
        "| | CPU ms | ratio | GF/s | best run, of peak | largest error |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    base = next(iter(rows.values()))["median_s"]
    for name, row in rows.items():
        if "failure" in row:
            lines.append(f"| {name} | {row['failure']} | | | | |")
            continue
        share = peaks.share(row["peak"], row["best_gf_s"])
        cells = [
            name,
            f"{1000 * row['median_s']:.1f}",
            f"{base / row['median_s']:.2f}",
            f"{row['gf_s']:.0f}",
            "-" if share is None else f"{share:.0%}",
            f"{row['error']:.2g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _memory(name: str) -> dict[str, float] | str:
    """MiB that the pages take, and that scoring takes beside them, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure_memory, args=(name, theirs))
    process.start()
    theirs.close()
    try:
        found: dict[str, float] | str = ours.recv()
    except EOFError:
        found = "ended without an answer"
    process.join()
    return found


def _measure_memory(name: str, answer: Connection) -> None:
    torch.set_num_threads(1)
    queries, pages = made(_MEMORY_SHAPE)
    try:
        each = next(each for each in contenders() if each.name == name)
        score = each.prepare(pages[:2])
        score(queries)  # loads what it needs
        before = _settled()
        score = each.prepare(pages)
        held = _settled()
        Path("/proc/self/clear_refs").write_text("5")  # forgets the highest mark
        score(queries)
        answer.send({"held_mb": held - before, "extra_mb": _resident("VmHWM") - held})
    except Exception as failure:  # noqa: BLE001
        answer.send(f"{type(failure).__name__}: {failure}"[:80])


def _settled() -> float:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed, too, goes back to the system
    return _resident("VmRSS")


def _resident(what: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    return float("nan")


def _memory_table(found: dict[str, dict[str, float] | str]) -> str:
    lines = [
        f"Memory, {_MEMORY_SHAPE.name}, MiB: pages beside the caller's float32 arrays of 503 MiB, "
        "and what scoring takes on top",
        "",
        "| | pages | scoring |",
        "|---|---:|---:|",
    ]
    for name, row in found.items():
        if isinstance(row, str):
            lines.append(f"| {name} | {row} | |")
        else:
            lines.append(f"| {name} | {row['held_mb']:.0f} | {row['extra_mb']:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
