"""Queries learn to find pages, and the pages stay as they are."""

from __future__ import annotations

import copy
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from colpali_serve.training.learning import tuning
from colpali_serve.training.learning.naming import NEAREST, Naming
from colpali_serve.training.learning.page_inputs import spare_directions
from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.learning.page_vectors import page_vectors
from colpali_serve.training.learning.silence import Silence, silent_vector
from colpali_serve.training.learning.tuning import STATE, QueryTuner
from colpali_serve.training.model import architecture, initial
from colpali_serve.training.model.spare_directions import linears
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import PageMaker
from colpali_serve.training.pages.seeing import Page
from colpali_serve.training.semantics.asker import Asker
from tests.training import materials

HELD_OUT = 2
FAST = architecture.learning_dtype(torch.device("cpu"))


@cache
def pages(face: Path) -> tuple[Page, ...]:
    maker = PageMaker(materials.said(), Fonts((face,), ()), 0, scans=0.0)
    return tuple(maker.page("article", points=14) for _ in range(6))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    initial.initialise(model, 0)
    architecture.save(model, processor, tmp_path / "before")
    return tmp_path / "before"


def vectors_of(checkpoint: Path, face: Path, kept: Path) -> Tensor:
    model, processor = architecture.load(checkpoint)
    pixels = [page.pixels for page in pages(face)]
    prompt = architecture.prompt(processor)
    return page_vectors(
        architecture.computing(model, FAST), prompt, pixels, checkpoint, kept, lambda _: None
    )


def tuner(checkpoint: Path, face: Path, folder: Path) -> QueryTuner:
    folder.mkdir(exist_ok=True)
    model, processor = architecture.load(checkpoint)
    texts = [[word.text for word in page.words] for page in pages(face)]
    vectors = vectors_of(checkpoint, face, folder)
    asker = Asker(materials.documents(), {})
    model = architecture.computing(model, FAST)
    queries = PageQueries(processor, texts, asker)
    words = sorted({word.lower() for text in texts for word in text if word.isalpha()})[:40]
    questions = [f"how do i {word}" for word in words]
    near = np.tile(np.arange(NEAREST), (len(questions), 1))
    close = np.tile(np.linspace(0.9, 0.1, NEAREST, dtype=np.float32), (len(questions), 1))
    naming = Naming(
        model, queries, questions, words, near, close,
        Silence(processor), silent_vector(vectors),
    )  # fmt: skip
    pixels, prompt = [page.pixels for page in pages(face)], architecture.prompt(processor)
    kept = folder / "spare.pt"
    spare = spare_directions(model, prompt, pixels, 0, kept, lambda: None)
    return QueryTuner(copy.deepcopy(model), processor, vectors, queries, naming, spare, 0, folder)


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "HELD_OUT", HELD_OUT)


@pytest.mark.slow
def test_queries_learn_and_pages_do_not_change(
    checkpoint: Path, face: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_RANK_EVERY", 1)
    monkeypatch.setattr(
        tuning, "_WEIGHTS", {**dict.fromkeys(tuning._WEIGHTS, 0.1), "rank": 1.0, "drift": 3.0}
    )
    made = tuner(checkpoint, face, tmp_path / "after")
    losses: list[float] = []
    made.run(120, 1e-2, lambda _, found: losses.append(found["rank"]))
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert 0 <= made.found() <= 1
    before = vectors_of(checkpoint, face, tmp_path)
    after = vectors_of(tmp_path / "after", face, tmp_path)
    alike = (after.float() * before.float()).sum(2)
    assert alike.mean() > 0.99 and alike.min() > 0.95
    first, last = (architecture.load(folder)[0] for folder in (checkpoint, tmp_path / "after"))
    old = first.state_dict()
    changed = {name for name, now in last.state_dict().items() if not torch.equal(now, old[name])}
    assert changed == {
        "model.model.language_model.embed_tokens.weight",
        *(f"{name}.weight" for name in linears(first)),
    }


def test_tuning_goes_on_as_if_it_had_not_stopped(
    checkpoint: Path, face: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_SAVE_EVERY", 3)

    def losses(folder: Path, stop: int | None = None) -> list[dict[str, float]]:
        found: list[dict[str, float]] = []

        def report(step: int, losses: dict[str, float]) -> None:
            found.append(losses)
            if step == stop:
                raise KeyboardInterrupt

        with suppress(KeyboardInterrupt):
            tuner(checkpoint, face, folder).run(6, 1e-3, report)
        return found

    whole = losses(tmp_path / "whole")
    # It stops in its fifth step; the state is that behind the third.
    assert losses(tmp_path / "parts", stop=5) == whole[:5]
    assert (tmp_path / "parts" / STATE).exists()
    assert losses(tmp_path / "parts") == [
        {name: pytest.approx(loss, abs=1e-6) for name, loss in one.items()} for one in whole[3:]
    ]


def test_vectors_are_kept_and_read_again(checkpoint: Path, face: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = vectors_of(checkpoint, face, kept)
    files = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert first.shape[0] == len(pages(face)) and first.dtype == torch.bfloat16
    assert torch.equal(vectors_of(checkpoint, face, kept), first)
    assert files == {path: path.stat().st_mtime_ns for path in kept.iterdir()}
