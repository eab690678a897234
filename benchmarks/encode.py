"""The encoder against the bare colpali-engine loop, in process and through the Flow.

    python -m benchmarks.encode [--models colpali-0.35m,colpali-tiny] [--repeats 3]

Contenders take turns, so that a noisy machine is noisy for all of them; read the ratios.
"""

from __future__ import annotations

import json
import platform
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console

from benchmarks.contenders import Contender, bare_loop, in_process, own_steps
from benchmarks.measuring import Row, table
from benchmarks.models import BUNDLED, CUDA_ONLY, SERVICE_COST, folder_of
from benchmarks.pages import DPI, encoded, real_pages
from benchmarks.serving import overloaded, served, under_load
from colpali_serve.engine.machine import usable_cores
from colpali_serve.engine.settings import EncoderSettings

_ROOT = Path(__file__).resolve().parent.parent
_BARE, _ENGINE, _STEPS = "bare loop", "engine in process", "its steps, a page at a time"
_NOTES = Console(stderr=True)
_QUEUE = 64


def main(
    models: Annotated[str, typer.Option(help="Separated by commas; empty: all that fit.")] = "",
    kinds: Annotated[str, typer.Option(help="png, jpeg or both.")] = "png,jpeg",
    pages: Annotated[int, typer.Option(help="Pages a run.", min=1)] = 0,
    callers: Annotated[str, typer.Option(help="Concurrent posts.")] = "1,8,64",
    repeats: Annotated[int, typer.Option(help="Runs of each contender.", min=1)] = 3,
    overload: Annotated[bool, typer.Option(help="Measure 200 callers at once, too.")] = True,
    out: Annotated[Path, typer.Option(help="All figures as JSON.")] = _ROOT
    / "benchmarks/encode.json",
) -> None:
    """Measure and print one table a model."""
    cuda = torch.cuda.is_available()
    names = models.split(",") if models else [SERVICE_COST, BUNDLED, *(CUDA_ONLY * cuda)]
    found: dict[str, object] = {}
    report: dict[str, object] = {"machine": _machine(), "models": found}
    for name in names:
        for kind in kinds.split(","):
            count = pages or (24 if name == BUNDLED and not cuda else 96)
            _NOTES.print(f"{name}, {kind}: {count} pages a run")
            title, rows, facts = _measure(
                name, kind, count, [int(number) for number in callers.split(",")], repeats
            )
            print(table(title, rows, _BARE) + "\n")  # noqa: T201  (a table is what it is for)
            found[f"{name} {kind}"] = {"facts": facts, "rows": [row.as_json() for row in rows]}
    if overload:
        report["overload"] = _overload()
    out.write_text(json.dumps(report, indent=1))
    _NOTES.print(f"wrote {out.name}")


def _measure(
    name: str, kind: str, count: int, callers: list[int], repeats: int
) -> tuple[str, list[Row], dict[str, object]]:
    data = real_pages(count, kind)
    flow = _ROOT / "flows" / ("rank-cuda.yml" if torch.cuda.is_available() else "rank.yml")
    # The bars are pages a second of page callers alone, and latencies of queries beside eight.
    several = [number for number in callers if number > 1]
    loads = [(number, False) for number in callers] + [(number, True) for number in several[:1]]
    rows = [Row(_BARE), Row(_ENGINE), Row(_STEPS)] + [
        Row(f"Flow, {number} at once{', and queries' * asked}") for number, asked in loads
    ]
    with ExitStack() as stack:
        folder = stack.enter_context(folder_of(name))
        settings = EncoderSettings(model=folder)
        bare = Contender(bare_loop, settings, data[:32])
        stack.callback(bare.stop)
        engine = Contender(in_process, settings)
        stack.callback(engine.stop)
        steps = Contender(own_steps, settings)
        stack.callback(steps.stop)
        service = stack.enter_context(served(flow, folder, {}))
        for repeat in range(repeats + 1):
            few = data[: max(4, count // 4)]
            taken = [bare.run(data), engine.run(data), steps.run(few)]
            taken += [
                under_load(service, data if number > 1 else few, number, with_query=asked)
                for number, asked in loads
            ]
            if repeat:  # the first one warms up
                for row, one in zip(rows, taken, strict=True):
                    row.runs.append(one)
            _NOTES.print(f"  {repeat}/{repeats}: " + ", ".join(
                f"{row.name} {one.pages / one.seconds:.1f}/s" for row, one in
                zip(rows, taken, strict=True)))  # fmt: skip
    facts = bare.facts
    roof = facts["matmul_flops_s"] / facts["page_flops"]
    title = (
        f"{name}, {facts['parameters'] / 1e6:.2f} M parameters in {facts['dtype']} on "
        f"{facts['device']}, {kind.upper()} pages at {DPI} dpi; bare loop with batches of "
        f"{facts['batch_size']}. Roof of one matrix product: {roof:.1f} pages/s; the engine "
        f"reaches {rows[1].pages_s / roof:.0%} of it."
    )
    return title, rows, {**facts, "roof_pages_s": roof}


def _overload() -> dict[str, object]:
    with folder_of(SERVICE_COST) as folder:
        env = {"COLPALI_MAX_QUEUE_ITEMS": str(_QUEUE)}
        with served(_ROOT / "flows" / "rank.yml", folder, env) as service:
            page = real_pages(1, "png")[0]
            # Costs the callers, who share the cores, next to nothing to send.
            small = encoded(Image.new("RGB", (300, 400), "white"), "png")
            under_load(service, [page] * 16, 8, with_query=False)
            alone = under_load(service, [page] * 8, 1, with_query=False)
            found = overloaded(service, small, 200, 15)
            after = under_load(service, [page] * 8, 1, with_query=False)
    figures: dict[str, object] = {
        "queue_items": _QUEUE,
        "served": found.served,
        "refusals": len(found.refusal_s),
        "refusal_p50_ms": 1000 * float(np.percentile(found.refusal_s or (0.0,), 50)),
        "refusal_p99_ms": 1000 * float(np.percentile(found.refusal_s or (0.0,), 99)),
        "resident_mb_before": found.resident_mb[0],
        "resident_mb_highest": found.resident_mb[1],
        "lone_ms_before": 1000 * sorted(alone.page_s)[4],
        "lone_ms_after": 1000 * sorted(after.page_s)[4],
    }
    print("200 callers at once, a queue of 64\n")  # noqa: T201
    for key, value in figures.items():
        print(f"- {key}: {value:.0f}" if isinstance(value, float) else f"- {key}: {value}")  # noqa: T201
    return figures


def _machine() -> dict[str, object]:
    cpu = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.processor(),
    )  # fmt: skip
    names = ("torch", "transformers", "colpali-engine", "jina", "docarray", "pillow")
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": cpu,
        "cores": usable_cores(),
        "card": card,
        "versions": {name: version(name) for name in names},
    }


if __name__ == "__main__":
    typer.run(main)
