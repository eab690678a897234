"""Metrics against values worked out by hand, and what must hold for any ranking."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.evaluation.metrics import estimate, measure, ndcg, recall

RANKINGS = st.permutations(range(8))
GOLDS = st.sets(st.integers(0, 7), min_size=1)


def test_one_gold_by_hand() -> None:
    ranking = [4, 2, 9, 7, 1, 0]
    assert ndcg(ranking, {4}) == 1
    assert ndcg(ranking, {9}) == 1 / 2  # third: 1 / log2(4)
    assert ndcg(ranking, {0}) == 0  # sixth
    assert [recall(ranking, {1}, k) for k in (1, 4, 5)] == [0, 0, 1]


def test_two_golds_by_hand() -> None:
    # First and third of two: (1 + 1/2) / (1 + 1/log2(3)).
    assert ndcg([4, 2, 9], {4, 9}) == pytest.approx(1.5 / (1 + 1 / log2(3)))
    assert recall([4, 2, 9], {4, 9}, 1) == 1
    assert recall([4, 2, 9], {4, 9}, 2) == 0.5


def test_more_golds_than_places_can_be_perfect() -> None:
    assert ndcg(range(5), set(range(7))) == pytest.approx(1)
    assert recall(range(5), set(range(7)), 5) == 1


@given(RANKINGS, GOLDS)
def test_bounds_and_perfection(ranking: list[int], gold: set[int]) -> None:
    value = ndcg(ranking, gold)
    assert 0 <= value <= 1 + 1e-12
    perfect = set(ranking[: len(gold)]) == gold
    assert (value == pytest.approx(1)) == (perfect or gold.issuperset(ranking[:5]))


@given(RANKINGS, GOLDS, st.integers(1, 7))
def test_moving_a_gold_up_never_hurts(ranking: list[int], gold: set[int], place: int) -> None:
    if ranking[place] in gold:
        better = ranking.copy()
        better[place - 1], better[place] = better[place], better[place - 1]
        assert ndcg(better, gold) >= ndcg(ranking, gold) - 1e-12
        assert recall(better, gold, 5) >= recall(ranking, gold, 5)


def test_a_matrix_of_scores() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [3.0, 2.0, 1.0]])
    assert measure(scores, [{1}, {2}]).tolist() == [[1, 1, 1], [0.5, 0, 1]]


def test_equal_scores_keep_the_order_of_the_pages() -> None:
    assert measure(np.zeros((2, 3)), [{0}, {2}])[:, 0].tolist() == [1, 0.5]


def test_estimates_repeat_themselves_and_hold_the_mean() -> None:
    values = np.array([0.0, 1.0] * 50)
    first = estimate(values)
    assert first == estimate(values)
    assert first.mean == 0.5
    # The standard error of this mean is 0.05: 1.96 of them either way.
    assert first.low == pytest.approx(0.402, abs=0.02)
    assert first.high == pytest.approx(0.598, abs=0.02)


def test_constant_values_leave_no_doubt() -> None:
    found = estimate(np.full(9, 0.25))
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)
