"""Commands that make more of a checkpoint whose stages are done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from colpali_serve.training.console import reporting, showing
from colpali_serve.training.options import Seed, Sources, Threads, Work, Workers
from colpali_serve.training.workplace import ROOM, Workplace

app = typer.Typer()


@app.command()
def tune(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the trained checkpoint.")],
    out: Annotated[Path, typer.Option(help="Folder of the tuned one.")] = ROOM / ".work/tuned",
    count: Annotated[int, typer.Option("--pages", help="Real pages to rank.")] = 2000,
    steps: Annotated[int, typer.Option(help="Batches of queries.", min=1)] = 1500,
    rate: Annotated[float, typer.Option(help="Learning rate at first.")] = 3e-3,
    asked: Annotated[int, typer.Option("--texts", help="Questions without a page.")] = 60_000,
    work: Work = ROOM / ".work",
    sources: Sources = ROOM / "sources",
    seed: Seed = 0,
    workers: Workers = 2,
    threads: Threads = 0,
) -> None:
    """Teach queries alone: to find real pages, which stay as they are, and to name words."""
    from colpali_serve.training.learning.query_setup import prepare_tuning

    with showing() as progress:
        workplace = Workplace(work, sources)
        tuner = prepare_tuning(
            workplace, progress, checkpoint, out, count, seed, threads, workers, asked
        )
        before = tuner.found()
        tuner.run(steps, rate, _reporting(progress, "tuning", steps))
        after = tuner.found()
    typer.echo(f"{out.name}: page found first among those held out, {before:.1%} to {after:.1%}")


@app.command()
def weigh(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of the trained checkpoint.")],
    out: Annotated[Path, typer.Option(help="Folder of what it becomes.")] = ROOM / ".work/weighed",
    count: Annotated[int, typer.Option("--pages", help="Real pages to rank.", min=2)] = 600,
    work: Work = ROOM / ".work",
    sources: Sources = ROOM / "sources",
    seed: Seed = 0,
    workers: Workers = 2,
    threads: Threads = 0,
) -> None:
    """Choose how much pads and pieces of words count in a query; the weights stay as they are."""
    from colpali_serve.training.learning.query_setup import prepare_weighing
    from colpali_serve.training.model.architecture import save_weighed

    with showing() as progress:
        workplace = Workplace(work, sources)
        tried = prepare_weighing(
            workplace, progress, checkpoint, out, count, seed, threads, workers
        ).tried()
    best = max(tried, key=lambda weighed: weighed.mean)
    save_weighed(checkpoint, best.weights, out)
    table = Table("around", "pieces", *best.found, "mean")
    for one in tried:
        figures = (one.weights.around, one.weights.pieces, *one.found.values(), one.mean)
        style = "bold" if one is best else None
        table.add_row(*(f"{figure:.4g}" for figure in figures), style=style)
    Console().print(table)
    typer.echo(f"{out.name}: {checkpoint.name}, {best.weights}")


def _reporting(
    progress: Progress, name: str, steps: int
) -> Callable[[int, dict[str, float]], None]:
    """Shows each step, and the means of its losses now and then."""
    task, losses = progress.add_task(name, total=steps), dict[str, list[float]]()

    def report(step: int, found: dict[str, float]) -> None:
        progress.update(task, completed=step)
        for loss, value in found.items():
            losses.setdefault(loss, []).append(value)
        if step % 50 == 0:
            means = (f"{loss} {sum(some) / len(some):.3f}" for loss, some in losses.items())
            progress.console.print(f"{step}: {', '.join(means)}", highlight=False)
            losses.clear()

    return report


@app.command()
def average(
    checkpoints: Annotated[list[Path], typer.Argument(help="Folders, the latest last.")],
    out: Annotated[Path, typer.Option(help="Folder of their mean.")] = ROOM / ".work/mean",
) -> None:
    """Average checkpoints of the same way of training, which is often better than any of them."""
    from colpali_serve.training.model.averaging import average as write_mean

    with reporting():
        write_mean(checkpoints, out)
    typer.echo(f"{out.name}: the mean of {len(checkpoints)}")
