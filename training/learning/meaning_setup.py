"""Puts a tuner of meaning together from what the workplace holds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from colpali_engine.models import ColPali
from rich.progress import Progress
from torch import Tensor

from colpali_serve.training.learning import meaning
from colpali_serve.training.learning.glossing import Glosser, gathering, told, write
from colpali_serve.training.learning.meaning import MeaningTuner, Read, Texts
from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.learning.page_vectors import page_states
from colpali_serve.training.learning.setup import real_pages, texts_of
from colpali_serve.training.model import architecture, forward
from colpali_serve.training.model.deepening import deepened
from colpali_serve.training.pages.seeing import Page
from colpali_serve.training.semantics.askable import askable
from colpali_serve.training.semantics.asker import Asker
from colpali_serve.training.semantics.encoder import SentenceEncoder, bundled, understood
from colpali_serve.training.semantics.meaning import ROWS, Space, chunks
from colpali_serve.training.semantics.word_meanings import WordMeanings
from colpali_serve.training.whole_files import whole
from colpali_serve.training.workplace import Workplace

# Batches of patches that learn what their words mean.
_GLOSSING = 1000


def prepare_meaning(
    workplace: Workplace,
    progress: Progress,
    checkpoint: Path,
    out: Path,
    count: int,
    asked: int,
    seed: int,
    threads: int,
    workers: int,
) -> MeaningTuner:
    """A tuner of meaning, with real pages as far as the layers of today read them.

    Args:
        workplace: where manuals, text and synonyms are.
        progress: shows what is being made.
        checkpoint: what gets a layer more.
        out: folder of the deeper checkpoint; if it holds a state, tuning goes on from there.
        count: pages of manuals, in runs of neighbours.
        asked: texts whose meaning is learned without a page.
        seed: of everything by chance.
        threads: of torch, 0 for its own choice.
        workers: processes that print pages.
    """
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    chosen = real_pages(workplace, progress, count, meaning.HELD_OUT, seed, workers)
    base, processor = architecture.load(checkpoint)
    task = progress.add_task("reading pages", total=len(chosen))
    states = page_states(
        base,
        architecture.prompt(processor),
        [page.pixels for page in chosen],
        checkpoint,
        out / "states",
        lambda done: progress.advance(task, done),
    )
    corpus = workplace.corpus(progress)
    asker = Asker(corpus, workplace.synonyms(progress))
    texts = askable(random.Random(seed), corpus, asker, workplace.glosses(), asked)
    said = [chunks(words) for words in texts_of(chosen)]
    asked_for = _understood(workplace, progress, "texts", texts)
    read = _understood(workplace, progress, "pages", [part for page in said for part in page])
    space = Space.of(read, asked_for, base.custom_text_proj.out_features)
    model, readout = _glossed(workplace, progress, base, states, chosen, space, seed, out)
    write(model, states)
    with torch.no_grad():
        patches = torch.stack(
            [forward.vectors(model, page[:-ROWS].float()).half() for page in states]
        )
    model = deepened(model, seed + 1)
    gathering(model, readout, states)
    ends = np.cumsum([len(page) for page in said])[:-1]
    means = np.stack([space.page(page) for page in np.split(read, ends)])
    encoder = SentenceEncoder(bundled())
    return MeaningTuner(
        model,
        base,
        processor,
        Read(states, patches, torch.from_numpy(means)),
        PageQueries(processor, texts_of(chosen), asker),
        Texts(texts, torch.from_numpy(space.queries(asked_for))),
        lambda questions: torch.from_numpy(space.queries(encoder(questions))),
        seed,
        out,
    )


def _understood(
    workplace: Workplace, progress: Progress, name: str, texts: Sequence[str]
) -> np.ndarray:
    task = progress.add_task(f"understanding {name}", total=len(texts))
    kept = workplace.folder / "understood"
    return understood(texts, bundled(), kept, lambda done: progress.advance(task, done))


def _glossed(
    workplace: Workplace,
    progress: Progress,
    model: ColPali,
    states: Tensor,
    pages: Sequence[Page],
    space: Space,
    seed: int,
    out: Path,
) -> tuple[ColPali, Tensor]:
    """A model one layer deeper whose patches say what their words mean, and how that is read."""
    deeper = deepened(model, seed)
    layer = deeper.model.model.language_model.layers[-1]
    path = out / "glossed.pt"
    if not path.exists():
        meanings = WordMeanings(
            workplace.printed_texts(progress),
            lambda words: _understood(workplace, progress, "words", words),
            space.basis,
        )
        parts = [told(page.words, meanings) for page in pages]
        says = torch.stack([said.half() for said, _ in parts])
        clear = torch.stack([known for _, known in parts])
        glosser = Glosser(deeper, states, says, clear, seed)
        task = progress.add_task("glossing words", total=_GLOSSING)
        glosser.run(_GLOSSING, lambda step, missed: progress.update(task, completed=step))
        with whole(path) as unfinished:
            kept = {"layer": layer.state_dict(), "readout": glosser.readout.detach()}
            torch.save(kept, unfinished)
    saved = torch.load(path, weights_only=True)
    layer.load_state_dict(saved["layer"])
    return deeper, saved["readout"]
