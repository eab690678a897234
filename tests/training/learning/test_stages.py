"""The plan of training, and what is said about a wrong one."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.learning import stages
from colpali_serve.training.learning.crops import Crops
from tests.conftest import ROOT

ONE = """
[[stage]]
name = "one"
goal = "a test"
steps = 100
matrix_rate = 1e-3
other_rate = 1e-3
warmup = 10
final = 0.2
large_print = [1.0, 0.0]
losses = { reading = 1.0, matching = 0.5, ranking = 0.0 }
crops = [
    { columns = 16, rows = 8, batch = 2, queries = 3, share = [1.0, 0.0] },
    { columns = 48, rows = 48, batch = 1, queries = 5, share = 1.0 },
]
"""


def read(folder: Path, text: str) -> tuple[stages.Stage, ...]:
    path = folder / "plan.toml"
    path.write_text(text)
    return stages.read(path)


def test_the_plan_of_the_bundled_checkpoint_is_read() -> None:
    plan = stages.read(ROOT / "training" / "stages.toml")
    assert [stage.name for stage in plan] == [
        "letters", "sizes", "pages", "questions", "manuals", "again", "beside",
    ]  # fmt: skip
    assert all(stage.goal and stage.warmup <= stage.steps for stage in plan)
    assert [stage.questions > 0 for stage in plan] == [False] * 3 + [True] * 3 + [False]
    # The last ones go on with other pages, from higher rates again.
    for before, after in pairwise(plan[:4]):
        assert before.matrix_rate * before.final >= after.matrix_rate * 0.5


def test_a_stage_has_what_its_table_says(tmp_path: Path) -> None:
    (stage,) = read(tmp_path, ONE)
    assert (stage.weights.reading, stage.weights.matching, stage.questions) == (1.0, 0.5, 0.0)
    assert [share.crops for share in stage.shares] == [Crops(16, 8, 2, 3), Crops(48, 48, 1, 5)]
    assert [(share.first, share.last) for share in stage.shares] == [(1.0, 0.0), (1.0, 1.0)]


def test_rates_rise_and_then_fall_in_a_straight_line(tmp_path: Path) -> None:
    (stage,) = read(tmp_path, ONE)
    rates = [stage.rate(step) for step in range(101)]
    assert max(rates) == rates[9] == stage.rate(stage.warmup - 1)
    assert rates[0] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.2)
    falls = [a - b for a, b in pairwise(rates[10:])]
    assert falls == pytest.approx([0.008] * len(falls))


def test_kinds_of_crops_change_over_the_stage(tmp_path: Path) -> None:
    (stage,) = read(tmp_path, ONE)
    rng = random.Random(0)

    def whole(step: int) -> float:
        found = Counter(stage.crops(step, rng).columns for _ in range(400))
        return found[48] / 400

    assert 0.4 < whole(0) < 0.6
    assert whole(50) == pytest.approx(2 / 3, abs=0.1)
    assert whole(100) == 1
    assert [stage.large(step) for step in (0, 50, 100)] == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("steps = 100\n", "", "steps"),
        ("steps = 100", "steps = 100\nspeed = 3", "speed"),
        ("steps = 100", "steps = 0", "0 steps"),
        ("steps = 100", 'steps = "many"', "str"),
        ("ranking = 0.0", "rank = 0.0", "rank"),
        (", ranking = 0.0", "", "ranking"),
        ("queries = 3, ", "", "queries"),
        ("queries = 3", "queries = 3, colour = 1", "colour"),
        ("columns = 48", "columns = 49", "49"),
        ("columns = 48", "columns = 0", "columns=0"),
        ("share = 1.0", "share = [1.0, 0.5, 0.2]", "unpack"),
        ("large_print = [1.0, 0.0]", "large_print = 1.0", "float"),
        ("losses = { reading", "loss = { reading", "losses"),
    ],
)
def test_a_wrong_stage_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in ONE
    with pytest.raises(ConfigError, match=f"plan.toml: stage 'one': .*{told}") as caught:
        read(tmp_path, ONE.replace(old, new))
    assert caught.value.item == "plan.toml"


@pytest.mark.parametrize(
    "text", ["", "[stages]\n", "stage = [", "stage = 3", "[stage]\nname = 'x'"]
)
def test_a_file_without_stages_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"plan\.toml"):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plan\.toml: cannot be read"):
        stages.read(tmp_path / "plan.toml")
