"""Command line of training: `python -m colpali_serve.training`."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.progress import Progress, TaskID

from colpali_serve.schemas.errors import ColPaliError, ConfigError
from colpali_serve.training.console import showing
from colpali_serve.training.evaluation.cli import app as evaluation
from colpali_serve.training.finishing import app as finishing
from colpali_serve.training.options import Pages, Seed, Sources, Work, Workers
from colpali_serve.training.workplace import ROOM, Workplace

if TYPE_CHECKING:
    from colpali_serve.training.learning.trainer import Reached

app = typer.Typer(
    name="training",
    help="Make colpali-tiny: text, tokenizer, pages, then stage after stage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(evaluation, name="evaluation")
app.add_typer(finishing)


@app.command()
def text(work: Work = ROOM / ".work", sources: Sources = ROOM / "sources") -> None:
    """Fetch the text packages and make the corpus, without the evaluation's text."""
    with showing() as progress:
        found = Workplace(work, sources).corpus(progress)
    words = sum(document.words() for document in found)
    typer.echo(f"{len(found)} documents, {words / 1e6:.1f} million words")


@app.command()
def tokenizer(work: Work = ROOM / ".work", sources: Sources = ROOM / "sources") -> None:
    """Train the tokenizer."""
    with showing() as progress:
        made = Workplace(work, sources).tokenizer(progress)
    typer.echo(" ".join(made.tokenize("How do I remove a file? Serendipity, 2031-07-14: $12.50")))


@app.command()
def synonyms(work: Work = ROOM / ".work", sources: Sources = ROOM / "sources") -> None:
    """Relate words that may stand for each other."""
    with showing() as progress:
        table = Workplace(work, sources).synonyms(progress)
    typer.echo(f"{len(table)} words; remove: {', '.join(table.get('remove', {}))}")


@app.command()
def pages(
    count: Pages = 6000,
    work: Work = ROOM / ".work",
    sources: Sources = ROOM / "sources",
    seed: Seed = 0,
    workers: Workers = 2,
) -> None:
    """Draw the training pages."""
    with showing() as progress:
        paths = Workplace(work, sources).pages(progress, count, seed, workers)
    typer.echo(f"{len(paths)} shards")


@app.command()
def prints(
    work: Work = ROOM / ".work", sources: Sources = ROOM / "sources", workers: Workers = 2
) -> None:
    """Print pages of real manuals, with their words, as training pages."""
    with showing() as progress:
        paths = Workplace(work, sources).prints(progress, workers)
    typer.echo(f"{len(paths)} shards")


@app.command()
def train(
    stage: Annotated[str, typer.Option(help="One stage only; all of them unless given.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint.")] = ROOM / ".work/tiny",
    start: Annotated[
        Path | None, typer.Option(help="Checkpoint to go on from, instead of first weights.")
    ] = None,
    stages: Annotated[Path, typer.Option(help="What to do.")] = ROOM / "stages.toml",
    count: Pages = 6000,
    work: Work = ROOM / ".work",
    sources: Sources = ROOM / "sources",
    seed: Seed = 0,
    workers: Workers = 2,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads on a CPU; 0 leaves it to torch.")] = 0,
    judged: Annotated[int, typer.Option(help="Pages to judge by after a stage; 0: none.")] = 48,
) -> None:
    """Train, stage after stage; the same command goes on after an interruption."""
    from colpali_serve.training.learning import stages as plan
    from colpali_serve.training.learning.setup import prepare

    with showing() as progress:
        chosen = [one for one in plan.read(stages) if stage in ("", one.name)]
        if not chosen:
            raise ConfigError(f"stage '{stage}' is not in {stages.name}", item=stage)
        workplace = Workplace(work, sources)
        paths = workplace.pages(progress, count, seed, workers)
        paths += workplace.prints(progress, workers)
        trainer = prepare(workplace, progress, paths, out, start, seed, device, threads)
        for one in chosen:
            if trainer.is_done(one):
                continue
            began = time.monotonic()
            task = progress.add_task(one.name, total=one.steps)
            with (out / "log.jsonl").open("a") as log:

                def report(now: Reached, task: TaskID = task, log: TextIO = log) -> None:
                    progress.update(task, completed=now.step)
                    shown = " ".join(f"{name} {value:.2f}" for name, value in now.figures.items())
                    progress.console.print(f"{now.step}: {shown}", highlight=False)
                    log.write(now.record() + "\n")
                    log.flush()

                trainer.run(one, report)
            progress.console.print(f"{one.name}: {(time.monotonic() - began) / 60:.0f} minutes")
            _copy(out, out / "after" / one.name)
            if judged:
                _judge(one.name, progress, out, work, sources, judged)


def _judge(
    stage: str, progress: Progress, out: Path, work: Path, sources: Path, pages: int
) -> None:
    from colpali_serve.training.evaluation.glance import glance

    try:
        figures = glance(out, work, sources, pages)
    except ColPaliError as error:  # the stage is done, and hours of others may come
        progress.console.print(f"{stage}: not judged, {error}")
        return
    shown = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
    progress.console.print(f"{stage}: on pages it never saw, {shown}")
    with (out / "log.jsonl").open("a") as log:
        log.write(json.dumps({"stage": stage, "judged": figures}) + "\n")


@app.command()
def ship(
    out: Annotated[Path, typer.Option(help="Folder of the trained checkpoint.")] = ROOM
    / ".work/tiny",
    to: Annotated[Path, typer.Option(help="Where the service looks.")] = ROOM.parent
    / "checkpoints/colpali-tiny",
) -> None:
    """Copy the checkpoint to where the service finds it; the model card there stays."""
    _copy(out, to)
    typer.echo(f"{to.name}: {(to / 'model.safetensors').stat().st_size / 1e6:.1f} MB")


def _copy(checkpoint: Path, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors", "processor_config.json", "tokenizer.json",
                 "tokenizer_config.json"):  # fmt: skip
        shutil.copyfile(checkpoint / name, to / name)
