"""The benchmark of MaxSim: what is made, who is measured, and what a failure looks like."""

from __future__ import annotations

import numpy as np
import pytest

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
