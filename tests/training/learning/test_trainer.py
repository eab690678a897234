"""Training goes on after an interruption as if there had been none, and losses fall."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from colpali_serve.training.learning import trainer as module
from colpali_serve.training.learning.context import PAIRS
from colpali_serve.training.learning.crops import CropMaker, Crops, Labelled
from colpali_serve.training.learning.labels import Labeller
from colpali_serve.training.learning.losses import Weights
from colpali_serve.training.learning.questions import Examples
from colpali_serve.training.learning.stages import Share, Stage
from colpali_serve.training.learning.trainer import STATE, Reached, Trainer
from colpali_serve.training.model import architecture, initial
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import PageMaker
from colpali_serve.training.semantics.asker import Asker
from tests.training import materials
from tests.training.materials import tokenizer

FAST = architecture.learning_dtype(torch.device("cpu"))


def stage(name: str = "test", steps: int = 6, questions: float = 0.5) -> Stage:
    return Stage(
        name=name,
        goal="a test",
        steps=steps,
        matrix_rate=4e-3,
        other_rate=2e-3,
        warmup=2,
        final=0.5,
        weights=Weights(1.0, 1.0, 0.5),
        questions=questions,
        large_print=(0.0, 0.0),
        shares=(Share(Crops(12, 6, 2, 2), 1.0, 0.5), Share(Crops(8, 8, 2, 3), 0.5, 1.0)),
    )


@cache
def pages(face: Path) -> tuple[Labelled, ...]:
    maker = PageMaker(materials.said(), Fonts((face,), ()), 0, scans=0.0)
    drawn = [maker.page("article", points=14) for _ in range(4)]
    label = Labeller(tokenizer())
    return tuple(
        Labelled(page.pixels, label(page.words), tuple(word.text for word in page.words))
        for page in drawn
    )


@cache
def examples() -> Examples:
    return Examples(Asker(materials.documents(), {}), tokenizer())


def trainer(face: Path, folder: Path, seed: int = 0, dtype: torch.dtype = FAST) -> Trainer:
    """A trainer from first weights, or from what the folder holds."""
    folder.mkdir(exist_ok=True)
    if (folder / STATE).exists():
        model, processor = architecture.load(folder)
    else:
        model, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
        initial.initialise(model, seed)
    asker = Asker(materials.documents(), {})
    crops = CropMaker(pages(face), tokenizer(), asker)
    return Trainer(model, processor, crops, examples(), seed, folder, dtype)


def weights(made: Trainer) -> dict[str, torch.Tensor]:
    heads = {f"heads.{name}": part for name, part in made.heads.state_dict().items()}
    masters = {f"master {n}": part for n, part in enumerate(made.optimiser.masters())}
    memory = {f"memory {name}": part for name, part in vars(made.memory.rivals()).items()}
    return {**made.model.state_dict(), **heads, **masters, **made.bank.state(), **memory}


class _InterruptedError(Exception):
    pass


def interrupting(at: int, seen: list[Reached]) -> Callable[[Reached], None]:
    def report(now: Reached) -> None:
        if now.step == at:
            raise _InterruptedError
        seen.append(now)

    return report


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    face: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAVE_EVERY", 3)
    whole, first, second = list[Reached](), list[Reached](), list[Reached]()
    straight = trainer(face, tmp_path / "straight")
    straight.run(stage(), whole.append, every=1)
    with pytest.raises(_InterruptedError):
        trainer(face, tmp_path / "halved").run(stage(), interrupting(5, first), every=1)
    resumed = trainer(face, tmp_path / "halved")
    assert not resumed.is_done(stage())
    resumed.run(stage(), second.append, every=1)
    assert resumed.is_done(stage())
    assert [now.step for now in second] == [4, 5, 6]
    assert [now.step for now in whole] == [1, 2, 3, 4, 5, 6]
    for now, same in zip(whole, [*first[:3], *second], strict=True):
        assert now.figures == same.figures
    expected = weights(straight)
    for name, part in weights(resumed).items():
        assert torch.equal(part, expected[name]), name


def whole_pages(steps: int) -> Stage:
    one = Share(Crops(architecture.GRID, architecture.GRID, 1, 2, questions=2), 1.0, 1.0)
    return replace(stage("pages", steps, questions=0.0), shares=(one,))


def test_whole_pages_are_remembered_beyond_an_interruption(
    face: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAVE_EVERY", 2)
    straight, seen = trainer(face, tmp_path / "straight"), list[Reached]()
    straight.run(whole_pages(3), seen.append, every=1)
    rivals = straight.memory.rivals()
    assert len(rivals.vectors) == 3
    # Of the first page nothing was to be told apart: it was alone, and there was no other.
    assert seen[0].figures["page rank loss"] == 0
    assert all(now.figures["page rank loss"] > 0 for now in seen[1:])
    assert not any("rank loss" in now.figures for now in seen)
    # Each shows what is on one of the pages.
    shown = [set(page.labels.pieces.tolist()) for page in pages(face)]
    for row in rivals.shows[:, :-PAIRS]:
        assert any(set(row.nonzero()[:, 0].tolist()) <= one for one in shown)
        assert row.any()

    with pytest.raises(_InterruptedError):
        trainer(face, tmp_path / "halved").run(whole_pages(3), interrupting(3, []), every=1)
    resumed, after = trainer(face, tmp_path / "halved"), list[Reached]()
    assert len(resumed.memory.rivals().vectors) == 2
    resumed.run(whole_pages(3), after.append, every=1)
    assert [now.figures for now in after] == [seen[2].figures]
    expected = weights(straight)
    for name, part in weights(resumed).items():
        assert torch.equal(part, expected[name]), name


def test_a_finished_stage_is_known_and_the_next_begins_at_its_start(
    face: Path, tmp_path: Path
) -> None:
    made = trainer(face, tmp_path)
    one, two = stage("one", 2), stage("two", 2, questions=0.0)
    made.run(one, lambda now: None)
    again = trainer(face, tmp_path)
    assert again.is_done(one)
    assert not again.is_done(two)
    steps: list[int] = []
    again.run(two, lambda now: steps.append(now.step), every=1)
    assert steps == [1, 2]
    assert trainer(face, tmp_path).is_done(one)


def test_other_seeds_train_others(face: Path, tmp_path: Path) -> None:
    losses = []
    for seed in (0, 1):
        trainer(face, tmp_path / str(seed), seed).run(
            stage(steps=1), lambda now: losses.append(now.figures["loss"])
        )
    assert losses[0] != losses[1]


def test_losses_fall(face: Path, tmp_path: Path) -> None:
    seen: list[Reached] = []
    trainer(face, tmp_path).run(stage(steps=30, questions=0.0), seen.append, every=5)
    first, last = seen[0].figures, seen[-1].figures
    for name in ("loss", "pieces loss", "letters loss"):
        assert last[name] < 0.9 * first[name], name


def test_readers_settle_on_towers_that_stay(
    face: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLING", 25)
    monkeypatch.setattr(module, "_SETTLING_CROPS", Crops(12, 6, 4, 1))
    first, settled = list[Reached](), list[Reached]()
    trainer(face, tmp_path / "fresh").run(stage(steps=1), first.append)
    made, steps = trainer(face, tmp_path / "settled"), list[int]()
    towers = {name: part.clone() for name, part in made.model.state_dict().items()}
    made.settle(lambda: steps.append(len(steps)))
    assert len(steps) == 25
    for name, part in made.model.state_dict().items():
        assert torch.equal(part, towers[name]), name
    assert not len(made.memory.rivals().vectors)
    made.run(stage(steps=1), settled.append)
    # The same first batch of the same towers: only who reads them knows more.
    for name in ("pieces loss", "letters loss"):
        assert settled[0].figures[name] < 0.9 * first[0].figures[name], name
    for name in ("rank loss", "question loss"):
        assert settled[0].figures[name] == pytest.approx(first[0].figures[name], rel=1e-3), name


def test_reports_are_means_and_lines_of_json(face: Path, tmp_path: Path) -> None:
    each, together = list[Reached](), list[Reached]()
    trainer(face, tmp_path / "a").run(stage(steps=4), each.append, every=1)
    trainer(face, tmp_path / "b").run(stage(steps=4), together.append, every=4)
    (last,) = together
    assert set(last.figures) == {
        "loss", "gradient", "pieces loss", "pieces right", "letters loss", "letters right",
        "token loss", "patch loss", "tokens found", "rank loss", "ranked first",
        "question loss", "questions answered",
    }  # fmt: skip
    for name, value in last.figures.items():
        mean = sum(now.figures[name] for now in each) / 4
        assert value == pytest.approx(mean, abs=1e-6), name
    line = json.loads(last.record())
    assert (line["stage"], line["step"]) == ("test", 4)
    assert line["loss"] == pytest.approx(last.figures["loss"], abs=1e-4)
    assert last.seconds_left == 0
    assert last.waited >= 0


def test_positions_are_not_rounded(face: Path, tmp_path: Path) -> None:
    made = trainer(face, tmp_path, dtype=torch.bfloat16)
    rotary = made.model.model.model.language_model.rotary_emb
    assert rotary.inv_freq.dtype == torch.float32
    assert next(made.model.parameters()).dtype == torch.bfloat16


def test_both_dtypes_learn_the_same_and_one_goes_on_from_the_other(
    face: Path, tmp_path: Path
) -> None:
    figures = dict[torch.dtype, list[float]]()
    for dtype in (torch.float32, torch.bfloat16):
        losses = figures.setdefault(dtype, [])
        made = trainer(face, tmp_path / str(dtype), dtype=dtype)
        made.run(stage(steps=3), lambda now, kept=losses: kept.append(now.figures["loss"]), every=1)
        assert {part.dtype for part in made.model.parameters()} == {dtype}
        assert made.memory.rivals().vectors.dtype == made.bank.state()["vectors"].dtype == dtype
    # The first loss is that of the same weights; each step after it has its own rounding.
    assert figures[torch.bfloat16] == pytest.approx(figures[torch.float32], rel=0.02)
    shutil.copytree(tmp_path / str(torch.bfloat16), tmp_path / "on")
    resumed = trainer(face, tmp_path / "on", dtype=torch.float32)
    expected = trainer(face, tmp_path / str(torch.bfloat16), dtype=torch.bfloat16)
    for one, two in zip(resumed.optimiser.masters(), expected.optimiser.masters(), strict=True):
        assert torch.equal(one, two)
    resumed.run(stage("more", 2), lambda now: None)
    assert resumed.is_done(stage("more", 2))


def test_the_prompt_is_what_the_processor_writes(face: Path, tmp_path: Path) -> None:
    made = trainer(face, tmp_path)
    _, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    ids = processor.process_images([materials.noise()])["input_ids"][0]
    behind = ids[architecture.GRID**2 :]
    assert made._prompt.tolist() == behind.tolist()
