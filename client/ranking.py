"""Scores to rankings."""

from __future__ import annotations

import numpy as np

from colpali_serve.client.results import RankedPage
from colpali_serve.client.scoring import Block
from colpali_serve.schemas import InvalidInputError


def check_top_k(top_k: int | None) -> None:
    """Refuse a `top_k` that is not a positive number.

    Raises:
        InvalidInputError: It is below 1.
    """
    if top_k is not None and top_k < 1:
        raise InvalidInputError(f"top_k is {top_k}, expected at least 1", "top_k")


def ranked(block: Block, top_k: int | None) -> list[list[RankedPage]]:
    """Order the pages of each query by score.

    Args:
        block: Scores of all pages.
        top_k: Length of each ranking; None ranks all pages.

    Returns:
        For each query the best page first; pages of equal score in their own order, pages that
        failed last.

    >>> block = Block(["a", "b", "c"], np.array([[1, np.nan, 2]], np.float32))
    >>> [(page.rank, page.id) for page in ranked(block, None)[0]]
    [(1, 'c'), (2, 'a'), (3, 'b')]
    """
    return [
        [
            RankedPage(rank, block.ids[index], float(scores[index]))
            for rank, index in enumerate(np.argsort(-scores, kind="stable")[:top_k], 1)
        ]
        for scores in block.scores
    ]
