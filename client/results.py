"""What the client hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from colpali_serve.schemas import Embedding

if TYPE_CHECKING:
    from PIL import Image


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
        box: Left, top, right and bottom of the part of the page that the grid covers, in shares of
            its width and height; None where that is all of it, or there is no grid.
    """

    id: str
    embedding: Embedding | None
    grid: tuple[int, int] | None = None
    error: str | None = None
    scale: float | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class QueryEmbedding:
    """One query, embedded or failed.

    Attributes:
        id: Name of the query, ``query-0001`` and so on, or the file it was read from.
        text: What was looked for; None for a query by page image.
        embedding: (n_vectors, dim), float16 or float32; unit rows, but of a text as long as each
            token counts where the checkpoint weighs them. None where the query failed.
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


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """Where on a page each token of a query finds its like.

    Attributes:
        id: Name of the page.
        query: What was looked for.
        tokens: Pieces of the query, as typed.
        kinds: What each is: "text"; with `all_tokens` also "prompt" and "special".
        maps: float32 (n_tokens, rows, columns), dot products with the patches, in [-1, 1]; row 0
            is the page's top, column 0 its left. A column is the page's width divided by their
            number, a row its height.
        image: The page, encoded, as it was sent.
    """

    id: str
    query: str
    tokens: list[str]
    kinds: list[str]
    maps: NDArray[np.float32]
    image: bytes

    @property
    def grid(self) -> tuple[int, int]:
        """Patch columns and rows."""
        _, rows, columns = self.maps.shape
        return columns, rows

    def overlay(self, token: int | None = None) -> Image.Image:
        """Draw the page with what a token looks at coloured.

        Args:
            token: Its index; None draws all pieces of the query's text at once.

        Returns:
            An RGB image of the page's size.

        Raises:
            InvalidInputError: There is no such token.
            InvalidPageError: The page cannot be decoded here.
        """
        from colpali_serve.client import overlay

        own = np.array([kind == "text" for kind in self.kinds])
        return overlay.draw(
            overlay.open_page(self.image, self.id), overlay.chosen(self.maps, own, token)
        )


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
