"""Puts a trainer together from what the workplace holds."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training import shards
from colpali_serve.training.learning import tuning
from colpali_serve.training.learning.crops import CropMaker, Labelled
from colpali_serve.training.learning.labels import Labeller
from colpali_serve.training.learning.naming import NEAREST, Naming
from colpali_serve.training.learning.page_inputs import spare_directions
from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.learning.page_vectors import page_vectors
from colpali_serve.training.learning.questions import Examples
from colpali_serve.training.learning.silence import Silence, silent_vector
from colpali_serve.training.learning.trainer import STATE, Trainer
from colpali_serve.training.learning.tuning import QueryTuner
from colpali_serve.training.model import architecture, initial
from colpali_serve.training.pages import printed
from colpali_serve.training.pages.seeing import Page
from colpali_serve.training.semantics.askable import askable
from colpali_serve.training.semantics.asker import Asker
from colpali_serve.training.semantics.related import nearest, telling, unsaid
from colpali_serve.training.workplace import Workplace

# Pages that lie beside each other are each other's hardest rivals.
_RUN = 20
# Pages that tell which directions are spare, and words nearest to a question, its own among them.
_LOOKED_INTO, _NEAREST = 45, 60


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
    return Trainer(
        model.to(where),
        processor,
        CropMaker(pages, processor.tokenizer, asker),
        Examples(asker, processor.tokenizer),
        seed,
        out,
        architecture.learning_dtype(where),
    )


def prepare_tuning(
    workplace: Workplace,
    progress: Progress,
    checkpoint: Path,
    out: Path,
    count: int,
    seed: int,
    threads: int,
    workers: int,
    asked: int,
) -> QueryTuner:
    """A tuner with real pages, embedded.

    Args:
        workplace: where manuals, text and synonyms are.
        progress: shows what is being made.
        checkpoint: what is tuned.
        out: folder of the tuned checkpoint; if it holds a state, tuning goes on from there.
        count: pages of manuals, in runs of neighbours.
        seed: of everything by chance.
        threads: of torch, 0 for its own choice.
        workers: processes that print pages.
        asked: about how many questions are asked without a page.
    """
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    chosen = _real_pages(workplace, progress, count, seed, workers)
    dtype = architecture.learning_dtype(torch.device("cpu"))
    loaded, processor = architecture.load(checkpoint)
    prompt, base = architecture.prompt(processor), architecture.computing(loaded, dtype)
    task = progress.add_task("embedding pages", total=len(chosen))
    vectors = page_vectors(
        base,
        prompt,
        [page.pixels for page in chosen],
        checkpoint,
        out / "vectors",
        lambda done: progress.advance(task, done),
    )
    corpus = workplace.corpus(progress)
    asker = Asker(corpus, workplace.synonyms(progress))
    texts = [[word.text for word in page.words] for page in chosen]
    queries = PageQueries(processor, texts, asker)
    questions = askable(random.Random(seed), corpus, asker, workplace.glosses(), asked)
    words = telling(workplace.printed_texts(progress))
    near = nearest(
        workplace.understood(progress, "questions", questions),
        workplace.understood(progress, "words", words),
        _NEAREST,
    )
    near = unsaid(*near, questions, words, NEAREST)
    silence, silent = Silence(processor), silent_vector(vectors)
    naming = Naming(base, queries, questions, words, *near, silence, silent)
    some = random.Random(seed).sample(chosen, min(_LOOKED_INTO, len(chosen)))
    task = progress.add_task("looking into pages", total=len(some))
    spare = spare_directions(
        base,
        prompt,
        [page.pixels for page in some],
        seed,
        out / "spare.pt",
        lambda: progress.advance(task),
    )
    model = copy.deepcopy(base)
    return QueryTuner(model, processor, vectors, queries, naming, spare, seed, out)


def _real_pages(
    workplace: Workplace, progress: Progress, count: int, seed: int, workers: int
) -> list[Page]:
    """Pages of manuals in runs of neighbours, more than are held out."""
    pages = [
        page
        for path in workplace.prints(progress, workers)
        for page in shards.read(path).pages()
        if len(page.words) >= 2
    ]
    starts = range(0, len(pages) - _RUN + 1, _RUN)
    some = random.Random(seed).sample(starts, min(count // _RUN, len(starts)))
    chosen = [pages[start + place] for start in some for place in range(_RUN)]
    if len(chosen) <= tuning.HELD_OUT:
        raise ConfigError(f"{len(chosen)} pages, expected more than the {tuning.HELD_OUT} held out")
    return chosen
