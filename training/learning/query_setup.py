"""Puts together from what the workplace holds what queries alone are taught, or weighed, by."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from colpali_engine.models import ColPali, ColPaliProcessor
from rich.progress import Progress
from torch import Tensor

from colpali_serve.engine.loading import load_model
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training import shards
from colpali_serve.training.learning import tuning
from colpali_serve.training.learning.naming import NEAREST, Naming
from colpali_serve.training.learning.page_inputs import spare_directions
from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.learning.page_vectors import page_vectors
from colpali_serve.training.learning.silence import Silence, silent_vector
from colpali_serve.training.learning.tuning import QueryTuner
from colpali_serve.training.learning.weighing import Weighing
from colpali_serve.training.model import architecture
from colpali_serve.training.model.spare_directions import Spare
from colpali_serve.training.pages.seeing import Page
from colpali_serve.training.semantics.askable import askable
from colpali_serve.training.semantics.asker import Asker
from colpali_serve.training.semantics.related import nearest, telling, unsaid
from colpali_serve.training.workplace import Workplace

# Pages that lie beside each other are each other's hardest rivals.
_RUN = 20
# Pages that tell which directions are spare, and words nearest to a question, its own among them.
_LOOKED_INTO, _NEAREST = 45, 60


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
    if len(chosen) <= tuning.HELD_OUT:
        raise ConfigError(f"{len(chosen)} pages, expected more than the {tuning.HELD_OUT} held out")
    base, processor = _load(checkpoint)
    prompt = architecture.prompt(processor)
    vectors = _embed(progress, base, prompt, chosen, checkpoint, out)
    corpus = workplace.corpus(progress)
    asker = Asker(corpus, workplace.synonyms(progress))
    queries = _page_queries(processor, chosen, asker)
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
    spare = _look_into(progress, base, prompt, some, seed, out)
    model = copy.deepcopy(base)
    return QueryTuner(model, processor, vectors, queries, naming, spare, seed, out)


def prepare_weighing(
    workplace: Workplace,
    progress: Progress,
    checkpoint: Path,
    out: Path,
    count: int,
    seed: int,
    threads: int,
    workers: int,
) -> Weighing:
    """Queries about real pages, and what each of their tokens finds there.

    Args:
        workplace: where manuals, text and synonyms are.
        progress: shows what is being made.
        checkpoint: what is weighed.
        out: folder where the pages' vectors are kept.
        count: pages of manuals, in runs of neighbours.
        seed: of everything by chance.
        threads: of torch, 0 for its own choice.
        workers: processes that print pages.
    """
    if threads:
        torch.set_num_threads(threads)
    chosen = _real_pages(workplace, progress, count, seed, workers)
    base, processor = _load(checkpoint)
    vectors = _embed(progress, base, architecture.prompt(processor), chosen, checkpoint, out)
    asker = Asker(workplace.corpus(progress), workplace.synonyms(progress))
    queries = _page_queries(processor, chosen, asker)
    loaded = load_model(EncoderSettings(model=str(checkpoint), device="cpu", dtype="float32"))
    task = progress.add_task("ranking pages", total=len(chosen))
    return Weighing(loaded, queries, vectors, seed, lambda done: progress.advance(task, done))


def _load(checkpoint: Path) -> tuple[ColPali, ColPaliProcessor]:
    """A checkpoint in what this machine's CPU learns in."""
    model, processor = architecture.load(checkpoint)
    dtype = architecture.learning_dtype(torch.device("cpu"))
    return architecture.computing(model, dtype), processor


def _page_queries(processor: ColPaliProcessor, pages: Sequence[Page], asker: Asker) -> PageQueries:
    return PageQueries(processor, [[word.text for word in page.words] for page in pages], asker)


def _embed(
    progress: Progress,
    model: ColPali,
    prompt: Tensor,
    pages: Sequence[Page],
    checkpoint: Path,
    out: Path,
) -> Tensor:
    """Vectors of pages, kept in `out`."""
    task = progress.add_task("embedding pages", total=len(pages))
    return page_vectors(
        model,
        prompt,
        [page.pixels for page in pages],
        checkpoint,
        out / "vectors",
        lambda done: progress.advance(task, done),
    )


def _look_into(
    progress: Progress,
    model: ColPali,
    prompt: Tensor,
    pages: Sequence[Page],
    seed: int,
    out: Path,
) -> dict[str, Spare]:
    """Directions that pages hardly have, kept in `out`."""
    task = progress.add_task("looking into pages", total=len(pages))
    return spare_directions(
        model,
        prompt,
        [page.pixels for page in pages],
        seed,
        out / "spare.pt",
        lambda: progress.advance(task),
    )


def _real_pages(
    workplace: Workplace, progress: Progress, count: int, seed: int, workers: int
) -> list[Page]:
    """Pages of manuals in runs of neighbours."""
    pages = _printed(workplace, progress, workers)
    starts = range(0, len(pages) - _RUN + 1, _RUN)
    some = random.Random(seed).sample(starts, min(count // _RUN, len(starts)))
    return [pages[start + place] for start in some for place in range(_RUN)]


def _printed(workplace: Workplace, progress: Progress, workers: int) -> list[Page]:
    """All pages of manuals that say something."""
    return [
        page
        for path in workplace.prints(progress, workers)
        for page in shards.read(path).pages()
        if len(page.words) >= 2
    ]
