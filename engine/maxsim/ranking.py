"""Scores to rankings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rank(scores: NDArray[np.floating], top_k: int | None = None) -> NDArray[np.int64]:
    """Order the pages of each query from the best score down.

    Args:
        scores: (n_queries, n_pages); NaN counts as worse than any number.
        top_k: How many to keep; None keeps all.

    Returns:
        int64 (n_queries, min(top_k, n_pages)), page indices; equal scores keep the pages' order.

    >>> rank(np.array([[0.1, 0.9, 0.5]]), top_k=2)
    array([[1, 2]])
    """
    order = np.argsort(-scores, axis=1, kind="stable")  # NaN sorts last
    return order[:, :top_k].astype(np.int64)
