"""What the client hands back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colpali_serve.schemas import Embedding


@dataclass(frozen=True, slots=True, eq=False)
class PageEmbedding:
    """One page, embedded or failed.

    Attributes:
        id: Name of the page, for example ``manual.pdf#3``.
        embedding: (n_vectors, dim), float16 or float32, unit rows; int8 (n_vectors, dim) or uint8
            (n_vectors, dim / 8) of signs where that was asked for; None where the page failed.
        grid: Columns and rows of vision patches, None where the model has no such grid.
        error: ``ErrorClass: message`` where `on_error` is "keep" and this page failed.
        scale: What int8 values are multiplied by, or what a sign stands for; None for floats.
    """

    id: str
    embedding: Embedding | None
    grid: tuple[int, int] | None = None
    error: str | None = None
    scale: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class QueryEmbedding:
    """One query, embedded or failed.

    Attributes:
        id: Name of the query, ``query-0001`` and so on, or the file it was read from.
        text: What was looked for; None for a query by page image.
        embedding: (n_vectors, dim), float16 or float32, unit rows; None where the query failed.
        error: ``ErrorClass: message`` where `on_error` is "keep" and this query failed.
    """

    id: str
    text: str | None
    embedding: Embedding | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RankedPage:
    """One line of a query's ranking.

    Attributes:
        rank: Place, the best page having 1.
        id: Name of the page.
        score: MaxSim of query and page, in [-n_vectors, n_vectors] for the query's n_vectors;
            NaN for a page that failed, which ranks last.
    """

    rank: int
    id: str
    score: float


@dataclass(frozen=True, slots=True)
class KeptPage:
    """A page that the service was asked to keep in its memory.

    Attributes:
        id: Name of the page.
        error: ``ErrorClass: message`` where `on_error` is "keep" and this page is not kept.
    """

    id: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ResidentPages:
    """What the service holds in its memory.

    Attributes:
        ids: Of the pages, in the order in which they came.
        size_mb: Memory that they take, in MiB.
        max_mb: Memory that they may take, in MiB.
    """

    ids: list[str]
    size_mb: float
    max_mb: float


@dataclass(frozen=True, slots=True, eq=False)
class ResidentScores:
    """Scores of pages that the service holds in its memory.

    Attributes:
        ids: Of the pages.
        scores: float32 (n_queries, len(ids)), NaN where the query failed.
    """

    ids: list[str]
    scores: NDArray[np.float32]
