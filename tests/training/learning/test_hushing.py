"""Words and phrases learn to say nothing else, and pages stay as they are."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from colpali_engine.models import ColPali
from torch import Tensor

from colpali_serve.training.learning import hushing
from colpali_serve.training.learning.asked import padded
from colpali_serve.training.learning.hushing import Husher, idle
from colpali_serve.training.learning.page_inputs import spare_directions
from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.learning.page_vectors import embedded
from colpali_serve.training.learning.silence import silent_vector
from colpali_serve.training.model import architecture, forward, initial
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import PageMaker
from colpali_serve.training.pages.seeing import Page
from colpali_serve.training.semantics.asker import Asker
from tests.training import materials


@cache
def pages(face: Path) -> tuple[Page, ...]:
    maker = PageMaker(materials.said(), Fonts((face,), ()), 0, scans=0.0)
    return tuple(maker.page("article", points=14) for _ in range(3))


def husher(face: Path, folder: Path) -> Husher:
    base, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    initial.initialise(base, 0)
    base = architecture.computing(base, architecture.learning_dtype(torch.device("cpu")))
    spare = spare_directions(base, *looked_at(face), 0, folder / "spare.pt", lambda: None)
    texts = [[word.text for word in page.words] for page in pages(face)]
    queries = PageQueries(processor, texts, Asker(materials.documents(), {}))
    questions = [f"how do i {word.lower()}" for word in texts[0][:40]]
    silent = silent_vector(vectors(base, face))
    return Husher(base, processor, queries, questions, spare, silent, 0, folder)


def looked_at(face: Path) -> tuple[Tensor, list[np.ndarray]]:
    _, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    return architecture.prompt(processor), [page.pixels for page in pages(face)]


@torch.no_grad()
def vectors(model: ColPali, face: Path) -> Tensor:
    return torch.cat([*embedded(model, *looked_at(face))]).float()


@pytest.mark.slow
def test_pads_of_words_learn_silence_and_the_rest_stays(face: Path, tmp_path: Path) -> None:
    made, heard = husher(face, tmp_path), list[float]()
    made.run(80, 1e-2, lambda _, found: heard.append(found["heard"]))
    assert sum(heard[-5:]) < 0.5 * sum(heard[:5])
    after, processor = architecture.load(tmp_path)
    before, _ = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    initial.initialise(before, 0)
    old = vectors(before, face)
    assert (vectors(after, face) * old).sum(2).mean() > 0.98
    words, core = materials.said().words[:4], processor.tokenizer.backend_tokenizer
    ids, mask = padded([core.encode(word, add_special_tokens=False).ids for word in words], 2, 0)
    with torch.no_grad():
        said, says = (forward.ask(model, ids, mask) for model in (before, after))
    silent, hushed = silent_vector(old), idle(mask)
    assert (says @ silent)[hushed].mean() > (said @ silent)[hushed].mean() + 0.2
    assert (says * said).sum(2)[mask & ~hushed].mean() > (says * said).sum(2)[hushed].mean()


def test_hushing_goes_on_as_if_it_had_not_stopped(
    face: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hushing, "_SAVE_EVERY", 2)

    def losses(folder: Path, stop: int | None = None) -> list[dict[str, float]]:
        folder.mkdir(exist_ok=True)
        found: list[dict[str, float]] = []

        def report(step: int, losses: dict[str, float]) -> None:
            found.append(losses)
            if step == stop:
                raise KeyboardInterrupt

        with suppress(KeyboardInterrupt):
            husher(face, folder).run(4, 1e-3, report)
        return found

    straight = losses(tmp_path / "whole")
    # It stops in its third step; the state is that behind the second.
    assert losses(tmp_path / "parts", stop=3) == straight[:3]
    assert losses(tmp_path / "parts") == [
        {name: pytest.approx(loss, abs=1e-6) for name, loss in one.items()} for one in straight[2:]
    ]
