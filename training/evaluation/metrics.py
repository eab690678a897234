"""Retrieval metrics and how sure they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np
from numpy.typing import NDArray

METRICS = ("ndcg@5", "recall@1", "recall@5")
_RESAMPLES = 5000
_SEED = 20
_BLOCK = 500


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95% interval.

    Attributes:
        mean: Over all queries.
        low: 2.5th percentile of the bootstrap means.
        high: 97.5th percentile.
    """

    mean: float
    low: float
    high: float


def ndcg(ranking: Sequence[int], gold: Collection[int], k: int = 5) -> float:
    """Discounted gain of the first k pages over the best that is possible.

    Args:
        ranking: Pages, best first.
        gold: The relevant pages, at least one; all are equally relevant.
        k: How many places count.

    Returns:
        0 to 1.

    >>> ndcg([7, 3, 9], {7})
    1.0
    >>> round(ndcg([7, 3, 9], {3}), 4)
    0.6309
    """
    gain = sum(1 / log2(place + 2) for place, page in enumerate(ranking[:k]) if page in gold)
    return gain / sum(1 / log2(place + 2) for place in range(min(k, len(gold))))


def recall(ranking: Sequence[int], gold: Collection[int], k: int) -> float:
    """Share of the relevant pages that stand in the first k places.

    Args:
        ranking: Pages, best first.
        gold: The relevant pages, at least one. Where there are more than k, finding k is enough.
        k: How many places count.

    Returns:
        0 to 1.

    >>> recall([7, 3, 9], {3, 9}, 2)
    0.5
    """
    return sum(page in gold for page in ranking[:k]) / min(k, len(gold))


def measure(scores: NDArray[np.floating], golds: Sequence[Collection[int]]) -> NDArray[np.float64]:
    """Measure a whole matrix of scores.

    Args:
        scores: (n_queries, n_pages), higher is better; equal scores keep the pages' order.
        golds: Relevant pages of each query.

    Returns:
        float64 (n_queries, 3): the columns are `METRICS`.
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, :5].tolist()
    rows = [
        (ndcg(ranking, gold), recall(ranking, gold, 1), recall(ranking, gold, 5))
        for ranking, gold in zip(order, golds, strict=True)
    ]
    return np.array(rows, np.float64).reshape(-1, len(METRICS))


def estimate(values: NDArray[np.float64]) -> Estimate:
    """Mean and percentile bootstrap interval over queries, the same at every call.

    The difference of two systems is estimated by giving the differences query by query: the
    queries are then resampled in pairs.

    Args:
        values: float64 (n_queries,), at least one.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    rng = np.random.default_rng(_SEED)
    means = [
        values[rng.integers(0, len(values), (_BLOCK, len(values)))].mean(axis=1)
        for _ in range(_RESAMPLES // _BLOCK)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))
