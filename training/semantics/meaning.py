"""What pages and queries mean: a sentence encoder's vectors, in as many dimensions as ours have.

The encoder reads a page in chunks; their mean says what the page is about, and finds the page of a
question better than its best chunk does. Without what all texts have in common, and along the
directions in which chunks differ most, a third of the encoder's dimensions keep nearly all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CHUNK_WORDS = 25
WHOLE, PARTS = 2, 4
ROWS = WHOLE + PARTS
"""Vectors that say what a page means: the first of the whole page, the others of a part each."""


def chunks(words: Sequence[str]) -> list[str]:
    """The words of a page, some at a time; a short rest is left out.

    >>> chunks(["a"] * 30), [len(chunk.split()) for chunk in chunks(["a"] * 45)]
    (['a a a a a a a a a a a a a a a a a a a a a a a a a'], [25, 20])
    """
    starts = range(0, max(1, len(words) - CHUNK_WORDS // 2), CHUNK_WORDS)
    return [" ".join(words[start : start + CHUNK_WORDS]) for start in starts]


@dataclass(frozen=True)
class Space:
    """Where meanings lie.

    Attributes:
        page_mean: float32 (encoder's dim,): what all chunks of pages have in common.
        query_mean: float32 (encoder's dim,): what all queries have in common.
        basis: float32 (encoder's dim, dim): orthonormal columns.
    """

    page_mean: np.ndarray
    query_mean: np.ndarray
    basis: np.ndarray

    @classmethod
    def of(cls, page_chunks: np.ndarray, queries: np.ndarray, dim: int) -> Space:
        """The directions in which chunks of pages differ most.

        Args:
            page_chunks: float32 (chunks, encoder's dim), at least `dim` of them.
            queries: float32 (queries, encoder's dim).
            dim: of the space.
        """
        mean = page_chunks.mean(0)
        spread = (page_chunks - mean).T @ (page_chunks - mean)
        _, directions = np.linalg.eigh(spread)
        return cls(mean, queries.mean(0), directions[:, ::-1][:, :dim].astype(np.float32))

    def page(self, page_chunks: np.ndarray) -> np.ndarray:
        """What a page means: float32 (ROWS, dim), unit vectors.

        Args:
            page_chunks: float32 (chunks, encoder's dim), in reading order, one or more. A page of
                few chunks has parts that are the whole.
        """
        whole = page_chunks.mean(0)
        parts = [
            part.mean(0) if len(part) else whole for part in np.array_split(page_chunks, PARTS)
        ]
        return _unit((np.stack([*[whole] * WHOLE, *parts]) - self.page_mean) @ self.basis)

    def queries(self, queries: np.ndarray) -> np.ndarray:
        """What queries mean: float32 (queries, dim), unit vectors."""
        return _unit((queries - self.query_mean) @ self.basis)


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    return unit
