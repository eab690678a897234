"""Scores with numpy alone: exact, portable, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.forms import Rows, floats

_MAX_COLUMNS = 1 << 15
"""Page vectors in one block: more would only make float32 copies larger."""

Array = NDArray[np.float32]


class NumpyBackend:
    """Scores in blocks of similarities, in float32 whatever the pages' form.

    Args:
        block_bytes: Upper bound for one block; beside it only float32 copies of its inputs live.
    """

    name = "numpy"
    copies = False
    available = frozenset({Arithmetic.FLOAT32})

    def __init__(self, block_bytes: int) -> None:
        self._columns = max(1, min(block_bytes // 4, _MAX_COLUMNS))
        self._rows = max(1, block_bytes // 4 // self._columns)

    def pack(self, rows: Rows, arithmetic: Arithmetic) -> Rows:
        """Return rows as they are: expanded they would take more memory."""
        return rows

    def prepare(self, pages: Sequence[Rows], arithmetic: Arithmetic) -> Sequence[Rows]:
        """Return the pages as they are."""
        return pages

    def score(
        self, queries: Sequence[Array], prepared: Sequence[Rows], arithmetic: Arithmetic
    ) -> Array:
        """Return float32 (n_queries, n_pages)."""
        scores = np.empty((len(queries), len(prepared)), np.float32)
        page_slices = _groups([rows.n_vectors for rows in prepared], self._columns)
        for query_slice in _groups([len(query) for query in queries], self._rows):
            group = queries[query_slice]
            for page_slice in page_slices:
                scores[query_slice, page_slice] = self._block(group, prepared[page_slice])
        return scores

    def _block(self, group: Sequence[Array], pages: Sequence[Rows]) -> NDArray[np.float64]:
        # A query longer than a block stands alone in its group, and is taken in parts.
        sums = np.zeros((len(group), len(pages)))
        for top in range(0, len(group[0]) if len(group) == 1 else 1, self._rows):
            part = [group[0][top : top + self._rows]] if len(group) == 1 else group
            best = self._best_per_page(np.concatenate(part), pages)
            # Sums in float64: a query of many vectors would lose digits in float32.
            starts = _starts([len(query) for query in part])
            sums += np.add.reduceat(best, starts, axis=0, dtype=np.float64)
        return sums

    def _best_per_page(self, rows: Array, pages: Sequence[Rows]) -> Array:
        """Largest dot product of each query row with each page: (n_rows, n_pages)."""
        if len(pages) > 1:
            stacked = np.concatenate([floats(page) for page in pages])
            starts = _starts([page.n_vectors for page in pages])
            return np.maximum.reduceat(rows @ stacked.T, starts, axis=1)
        # One page can be larger than a block: take it in slices.
        page = pages[0]
        best = np.full(len(rows), -np.inf, np.float32)
        for left in range(0, page.n_vectors, self._columns):
            values = page.values[left : left + self._columns]
            part = floats(Rows(values, page.form, len(values), page.dim, page.scale))
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
    slices.append(slice(start, len(lengths)))
    return slices


def _starts(lengths: Sequence[int]) -> NDArray[np.intp]:
    return np.concatenate([[0], np.cumsum(lengths[:-1])]).astype(np.intp)
