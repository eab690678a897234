"""Queries and pages to score: sizes of ColPali's, similarities like those of real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

DIM = 128
TOKENS = 25
"""Vectors of a query."""
_TOPICS = 64
_NOISE = 0.035


@dataclass(frozen=True)
class Shape:
    """How much is scored.

    Attributes:
        queries: How many, of `TOKENS` vectors each.
        pages: How many.
        shortest: Vectors of the shortest page.
        longest: Of the longest.
    """

    queries: int
    pages: int
    shortest: int
    longest: int

    @property
    def name(self) -> str:
        """For example ``16x1000, 256-1024``."""
        lengths = {self.shortest, self.longest}
        return f"{self.queries}x{self.pages}, {'-'.join(map(str, sorted(lengths)))}"


SHAPES = (
    Shape(1, 100, 1030, 1030),
    Shape(1, 1000, 1030, 1030),
    Shape(16, 1000, 1030, 1030),
    Shape(1, 1000, 256, 1024),
    Shape(16, 1000, 256, 1024),
    Shape(16, 1000, 343, 343),
)


def made(shape: Shape, seed: int = 0) -> tuple[list[Array], list[Array]]:
    """Queries and pages of unit vectors around common topics, with scores of about 20.

    Args:
        shape: How many.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    topics = rng.standard_normal((_TOPICS, DIM), np.float32)
    topics /= np.linalg.norm(topics, axis=1, keepdims=True)

    def item(length: int) -> Array:
        rows = topics[rng.integers(0, _TOPICS, length)]
        rows = rows + np.float32(_NOISE) * rng.standard_normal(rows.shape, np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    lengths = rng.integers(shape.shortest, shape.longest + 1, shape.pages)
    return [item(TOKENS) for _ in range(shape.queries)], [item(length) for length in lengths]


def exact(queries: list[Array], pages: list[Array]) -> NDArray[np.float64]:
    """MaxSim in float64."""
    rows = np.concatenate(queries).astype(np.float64)
    best = np.stack([(rows @ page.astype(np.float64).T).max(axis=1) for page in pages], axis=1)
    return best.reshape(len(queries), TOKENS, len(pages)).sum(axis=1)
