"""Puts a trainer together from what the workplace holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress

from colpali_serve.training import shards
from colpali_serve.training.learning.crops import CropMaker, Labelled
from colpali_serve.training.learning.labels import Labeller
from colpali_serve.training.learning.questions import Examples
from colpali_serve.training.learning.trainer import SETTLING, STATE, Trainer
from colpali_serve.training.model import architecture, initial
from colpali_serve.training.pages import printed
from colpali_serve.training.semantics.asker import Asker
from colpali_serve.training.workplace import Workplace


def prepare(
    workplace: Workplace,
    progress: Progress,
    paths: Sequence[Path],
    out: Path,
    start: Path | None,
    seed: int,
    device: str,
    threads: int,
) -> Trainer:
    """A trainer with its pages in memory maps and its questions ready.

    Args:
        workplace: where text, tokenizer and synonyms are.
        progress: shows what is being read.
        paths: shards of pages.
        out: folder of the checkpoint; if it holds a state, training goes on from there.
        start: checkpoint whose weights are taken first; None begins from nothing.
        seed: of everything by chance.
        device: cpu or cuda.
        threads: of torch on a CPU, 0 for its own choice.
    """
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    folder = out if (out / STATE).exists() else start
    if folder is None:
        tokenizer = workplace.tokenizer(progress)
        model, processor = architecture.build(architecture.Shape(), tokenizer)
        initial.initialise(model, seed)
    else:
        model, processor = architecture.load(folder)
    label = Labeller(processor.tokenizer)
    pages: list[Labelled] = []
    task = progress.add_task("reading pages", total=len(paths))
    for path in paths:
        for page in shards.read(path).pages():
            text = tuple(word.text for word in page.words) if page.kind == printed.KIND else ()
            pages.append(Labelled(page.pixels, label(page.words), text))
        progress.advance(task)
    asker = Asker(workplace.corpus(progress), workplace.synonyms(progress))
    where = torch.device(device)
    trainer = Trainer(
        model.to(where),
        processor,
        CropMaker(pages, processor.tokenizer, asker),
        Examples(asker, processor.tokenizer),
        seed,
        out,
        architecture.learning_dtype(where),
    )
    if folder is not None and folder is start:
        task = progress.add_task("settling readers", total=SETTLING)
        trainer.settle(lambda: progress.advance(task))
    return trainer
