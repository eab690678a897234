"""The benchmark of MaxSim: what is made, who is measured, and what a failure looks like."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import maxsim_card
from benchmarks.maxsim import _measure, _table
from benchmarks.maxsim_contenders import Contender, contenders
from benchmarks.maxsim_shapes import SHAPES, TOKENS, Shape, exact, made
from benchmarks.peaks import Peaks
from tests.engine.maxsim.exact import double_loop

SMALL = Shape(2, 6, 3, 9)


def test_what_is_made_is_ragged_of_unit_length_and_scores_high() -> None:
    queries, pages = made(Shape(2, 30, 200, 300))
    assert all(len(query) == TOKENS for query in queries)
    assert len({len(page) for page in pages}) > 5
    np.testing.assert_allclose(np.linalg.norm(pages[0], axis=1), 1, rtol=1e-5)
    scores = exact(queries, pages)
    assert 18 < scores.mean() < 23
    np.testing.assert_allclose(scores[:, :3], double_loop(queries, pages[:3]), rtol=1e-6)


def test_names_of_shapes() -> None:
    assert [shape.name for shape in SHAPES][2:4] == ["16x1000, 1030", "1x1000, 256-1024"]


def test_our_contenders_are_right_and_whoever_fails_says_so() -> None:
    def broken(pages: list[np.ndarray]) -> None:
        raise ImportError("No module named 'nobody'")

    ours = [c for c in contenders() if c.name.split()[0] in ("numpy", "torch", "avx512", "avx2")]
    first = contenders()[0]
    rows = _measure(SMALL, [first, *ours, Contender("nobody", broken)], 1, Peaks())
    for each in ours:
        if "binary" not in each.name:
            assert rows[each.name]["error"] < 0.05, each.name
    table = _table(SMALL, rows, Peaks())
    assert "| nobody | ImportError: No module named 'nobody' | | | | |" in table
    assert table.count("\n") == 4 + len(ours) + 1


def test_peaks_are_measured_and_shares_are_of_them() -> None:
    peaks = Peaks()
    if not peaks._loops:
        pytest.skip("no compiled kernel or no compiler here")
    peaks.measure()
    assert all(speed > 0 for speed in peaks.best.values())
    name, best = next(iter(peaks.best.items()))
    assert peaks.share(name, best / 2) == pytest.approx(0.5)
    assert peaks.share("nobody's", 1.0) is None


def test_without_a_card_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    maxsim_card.main()
    assert capsys.readouterr().out == "MaxSim on a card: there is none here\n"


def test_the_table_of_a_card() -> None:
    """On a CPU: torch and colpali-engine are right, and whoever needs a card says so."""
    rows = maxsim_card.measure(SMALL, maxsim_card.contenders("cpu"), 2, "cpu")
    right = {name for name, row in rows.items() if "failure" not in row}
    assert {"colpali-engine float32", "torch float32", "torch float16", "torch int8"} <= right
    for name in right - {"torch binary"}:
        assert rows[name]["error"] < 0.2, name
    assert rows["triton float16"]["failure"].startswith("ConfigError: MaxSim backend 'triton'")
    text = maxsim_card.table(SMALL, rows, maxsim_card.copy_bandwidth("cpu", 1 << 20))
    assert text.count("\n") == 3 + len(rows)
    assert "| triton float16 | ConfigError: MaxSim backend 'triton' needs a CUDA card" in text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_triton_among_the_others_on_a_card() -> None:
    rows = maxsim_card.measure(SMALL, maxsim_card.contenders("cuda"), 2, "cuda")
    assert all("failure" not in row for name, row in rows.items() if "triton" in name)
    assert rows["triton float32"]["error"] < 1e-5
    assert rows["triton float16"]["error"] < 0.005
