"""MaxSim late interaction over ragged embeddings, exact and in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from colpali_serve.schemas import Embedding

Scores = NDArray[np.float32]

_BLOCK_BYTES = 64 * 1024**2
"""Upper bound for one block of similarities; beside it only float32 copies of its inputs live."""

_MAX_COLUMNS = 1 << 15
"""Page vectors in one block: more would only make those copies larger."""


def maxsim(
    queries: Sequence[Embedding], pages: Sequence[Embedding], *, block_bytes: int = _BLOCK_BYTES
) -> Scores:
    """Score every query against every page.

    The score is the sum over the query's vectors of their largest dot product with any of the
    page's vectors. Nothing is padded, so a page's score never depends on what it is scored
    beside, and a page whose every dot product is negative keeps its negative score.

    Args:
        queries: Each (n_vectors, dim), any float dtype, at least one vector.
        pages: Likewise, of the same dim.
        block_bytes: Similarities held at a time, in bytes.

    Returns:
        float32 (n_queries, n_pages).

    Source:
        Khattab and Zaharia, ColBERT (2020), section 3.3; Faysse et al., ColPali (2024).

    >>> maxsim([np.eye(2, dtype=np.float32)], [np.array([[1, 0], [0, -1]], np.float32)])
    array([[1.]], dtype=float32)
    """
    scores = np.empty((len(queries), len(pages)), np.float32)
    columns = max(1, min(block_bytes // 4, _MAX_COLUMNS))
    rows = max(1, block_bytes // 4 // columns)
    for query_slice in _groups([len(query) for query in queries], rows):
        group = queries[query_slice]
        for page_slice in _groups([len(page) for page in pages], columns):
            # A query longer than a block stands alone in its group, and is taken in parts.
            sums = np.zeros((len(group), page_slice.stop - page_slice.start))
            for top in range(0, len(group[0]) if len(group) == 1 else 1, rows):
                part = [group[0][top : top + rows]] if len(group) == 1 else group
                best = _best_per_page(_stack(part), pages[page_slice], columns)
                # Sums in float64: a query of many vectors would lose digits in float32.
                sums += np.add.reduceat(best, _starts(part), axis=0, dtype=np.float64)
            scores[query_slice, page_slice] = sums
    return scores


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


def _best_per_page(rows: Scores, pages: Sequence[Embedding], max_columns: int) -> Scores:
    """Largest dot product of each query row with each page: (n_rows, n_pages)."""
    if len(pages) > 1:
        return np.maximum.reduceat(rows @ _stack(pages).T, _starts(pages), axis=1)
    # One page can be larger than a block: take it in slices.
    best = np.full(len(rows), -np.inf, np.float32)
    for left in range(0, len(pages[0]), max_columns):
        part = np.asarray(pages[0][left : left + max_columns], np.float32)
        np.maximum(best, (rows @ part.T).max(axis=1), out=best)
    return best[:, np.newaxis]


def _groups(lengths: Sequence[int], limit: int) -> list[slice]:
    """Consecutive slices of at most `limit` vectors each, a longer item standing alone."""
    slices, start, total = [], 0, 0
    for index, length in enumerate(lengths):
        if index > start and total + length > limit:
            slices.append(slice(start, index))
            start, total = index, 0
        total += length
    if lengths:
        slices.append(slice(start, len(lengths)))
    return slices


def _stack(items: Sequence[Embedding]) -> Scores:
    return np.concatenate([np.asarray(item, np.float32) for item in items])


def _starts(items: Sequence[Embedding]) -> NDArray[np.intp]:
    lengths = [len(item) for item in items]
    return np.concatenate([[0], np.cumsum(lengths[:-1])]).astype(np.intp)
