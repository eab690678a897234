"""Pages and queries learn to say what they mean, and what was read stays as it is."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from colpali_engine.models import ColPali, ColPaliProcessor
from torch import Tensor

from colpali_serve.training.learning import meaning
from colpali_serve.training.learning.meaning import STATE, MeaningTuner, Read, Texts
from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.learning.page_vectors import page_states
from colpali_serve.training.model import architecture, forward, initial
from colpali_serve.training.model.deepening import deepened
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import PageMaker
from colpali_serve.training.pages.seeing import Page
from colpali_serve.training.semantics.asker import Asker
from colpali_serve.training.semantics.meaning import ROWS
from tests.training import materials

PAGES, HELD_OUT = 6, 2


@cache
def pages(face: Path) -> tuple[Page, ...]:
    maker = PageMaker(materials.said(), Fonts((face,), ()), 0, scans=0.0)
    return tuple(maker.page("article", points=14) for _ in range(PAGES))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HELD_OUT": HELD_OUT, "_PAGES": 3, "_RIVALS": 4, "_ASKED": 12, "_SAVE_EVERY": 3,
    }.items():  # fmt: skip
        monkeypatch.setattr(meaning, name, value)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    initial.initialise(model, 0)
    architecture.save(model, processor, tmp_path / "before")
    return tmp_path / "before"


def understand(texts: list[str] | tuple[str, ...]) -> Tensor:
    """Meanings by the first letters of words: nearly the same for nearly the same words."""
    rows = torch.full((len(texts), 128), 0.01)
    for row, text in enumerate(texts):
        for word in text.lower().split():
            rows[row, ord(word[0]) % 128] += 1
    return F.normalize(rows - rows.mean(1, keepdim=True), dim=1)


def states_of(
    model: ColPali, processor: ColPaliProcessor, face: Path, checkpoint: Path, kept: Path
) -> Tensor:
    pixels = [page.pixels for page in pages(face)]
    prompt = architecture.prompt(processor)
    return page_states(model, prompt, pixels, checkpoint, kept, lambda _: None)


def tuner(checkpoint: Path, face: Path, folder: Path) -> MeaningTuner:
    folder.mkdir(exist_ok=True)
    model, processor = architecture.load(checkpoint)
    states = states_of(model, processor, face, checkpoint, folder / "states")
    assert states.dtype == torch.float16
    with torch.no_grad():
        patches = forward.vectors(model, states[:, :-ROWS].float()).half()
    texts = [[word.text for word in page.words] for page in pages(face)]
    meanings = understand([" ".join(text) for text in texts])[:, None].expand(-1, ROWS, -1)
    asked = [" ".join(materials.WORDS[at : at + 4]) for at in range(30)]
    queries = PageQueries(processor, texts, Asker(materials.documents(), {}))
    return MeaningTuner(
        deepened(model),
        model,
        processor,
        Read(states, patches, meanings),
        queries,
        Texts(asked, understand(asked)),
        lambda questions: understand(list(questions)),
        0,
        folder,
    )


def test_both_sides_learn_to_say_what_they_mean(
    checkpoint: Path, face: Path, tmp_path: Path
) -> None:
    made = tuner(checkpoint, face, tmp_path / "after")
    losses: list[dict[str, float]] = []
    made.run(24, 20, lambda _, found: losses.append(found))
    for name in ("page", "query"):
        assert losses[19][name] < 0.98 * losses[0][name]
    assert "rank" not in losses[19] and all(now["rank"] > 0 for now in losses[20:])
    assert losses[-1]["still"] < 0.5  # a tenth of the squared distance from where they stood
    assert 0 <= made.found() <= 1

    before = architecture.load(checkpoint)[0].state_dict()
    model, processor = architecture.load(tmp_path / "after")
    after = model.state_dict()
    changed = {name for name, weights in before.items() if not torch.equal(weights, after[name])}
    table = "model.model.language_model.embed_tokens.weight"
    assert changed == {table}
    # A page's prompt looks into the table: what stands there for it is as before.
    kept = architecture.prompt(processor)
    assert torch.equal(before[table][kept], after[table][kept])


def test_it_goes_on_as_if_it_had_not_stopped(checkpoint: Path, face: Path, tmp_path: Path) -> None:
    def losses(folder: Path, stop: int | None = None) -> list[float]:
        found: list[float] = []

        def report(step: int, parts: dict[str, float]) -> None:
            found.append(sum(parts.values()))
            if step == stop:
                raise KeyboardInterrupt

        with suppress(KeyboardInterrupt):
            tuner(checkpoint, face, folder).run(6, 1, report)
        return found

    whole = losses(tmp_path / "whole")
    # It stops in its fifth step; the state is that behind the third.
    assert losses(tmp_path / "parts", stop=5) == whole[:5]
    assert (tmp_path / "parts" / STATE).exists()
    assert losses(tmp_path / "parts") == pytest.approx(whole[3:], abs=1e-5)


def test_the_pads_that_say_what_a_query_means_stand_behind_its_words() -> None:
    mask = torch.ones(2, 16, dtype=torch.bool)
    mask[1, 13:] = False
    rows = torch.arange(32.0).view(2, 16, 1)
    said = meaning._rows_at(rows, meaning._saying_places(mask))[..., 0]
    assert said[:, 0].tolist() == [6.0, 16.0 + 3.0]
    assert said.shape == (2, 5)
