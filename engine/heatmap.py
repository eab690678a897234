"""Where on a page each token of a query finds what it looks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.forward import Grid
from colpali_serve.engine.items import Encoded, TextInput
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.margins import WHOLE, Box
from colpali_serve.engine.queries import QueryGuard
from colpali_serve.engine.settings import Limits
from colpali_serve.engine.tokens import Token, query_tokens
from colpali_serve.schemas import Embedding, EncodingError

_TILED = ("ColIdefics3", "ColModernVBert")


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Similarities of a query's tokens with the patches of a page.

    Attributes:
        tokens: The tokens, in the order of the query's vectors.
        maps: float32 (n_tokens, rows, columns), dot products of unit vectors, in [-1, 1]; row 0
            is the top of the page, column 0 its left. Each cell is an equal share of the page's
            height and width, whatever is done to a page before the model looks. In margins that
            were cut off each token has its median on the page: neither warm nor cold.
    """

    tokens: list[Token]
    maps: NDArray[np.float32]

    @property
    def grid(self) -> Grid:
        """Patch columns and rows."""
        _, rows, columns = self.maps.shape
        return columns, rows

    def own_text(self) -> Heatmap:
        """Return the user's own tokens only, without those that the checkpoint puts around."""
        kept = [index for index, token in enumerate(self.tokens) if token.kind == "text"]
        return Heatmap([self.tokens[index] for index in kept], self.maps[kept])


class Heatmapper:
    """Makes heatmaps out of what an encoder of the same model gave.

    Args:
        loaded: The model.
        limits: The encoder's, by which it checked the queries.
    """

    def __init__(self, loaded: LoadedModel, limits: Limits) -> None:
        self._loaded = loaded
        self._guard = QueryGuard(loaded.processor, limits)

    def __call__(self, page: Encoded, query: Encoded, asked: TextInput) -> Heatmap:
        """Compare each vector of a query with each patch of a page.

        Args:
            page: The page, float32 and not pooled.
            query: The query, float32.
            asked: What the query was embedded from.

        Returns:
            All vectors of the query, those that are not the user's own text marked.

        Raises:
            EncodingError: The page has no grid of patches; one that was pooled has none.
        """
        if page.grid is None or page.token_ids is None or query.token_ids is None:
            raise EncodingError("the page has no grid of patches, expected one that is not pooled")
        places = patch_rows(self._loaded, page.token_ids, page.grid)
        text = self._guard.check(asked.text, asked.owner, asked.id)
        # How much a token counts in a score says nothing of where it finds its like.
        lengths = np.linalg.norm(query.embedding, axis=1, keepdims=True)
        maps = similarities(query.embedding / lengths, page.embedding, places)
        return Heatmap(
            query_tokens(self._loaded, text, query.token_ids), over_the_page(maps, page.box)
        )


def similarities(
    query: Embedding, page: Embedding, places: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the dot product of each query vector with each patch.

    Args:
        query: (n_tokens, dim).
        page: (n_vectors, dim).
        places: (rows, columns), which of the page's vectors stands for each patch.

    Returns:
        float32 (n_tokens, rows, columns).

    >>> page = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    >>> similarities(page[1:2], page, np.array([[2, 1]]))
    array([[[0., 1.]]], dtype=float32)
    """
    rows, columns = places.shape
    patches = np.asarray(page, np.float32)[places.reshape(-1)]
    found: NDArray[np.float32] = np.asarray(query, np.float32) @ patches.T
    return found.reshape(-1, rows, columns)


def over_the_page(maps: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
    """Return maps of a part of a page as maps of the page, in cells of about the same size.

    Args:
        maps: (n_tokens, rows, columns) of the part.
        box: The part.

    Returns:
        (n_tokens, rows, columns): each cell has the value of the patch at its centre, the median
        of its map outside the part.

    >>> over_the_page(np.array([[[0.25, 0.75]]], np.float32), Box(left=0.5))
    array([[[0.5 , 0.5 , 0.25, 0.75]]], dtype=float32)
    """
    if box == WHOLE:
        return maps
    _, rows, columns = maps.shape
    row, above = _cells(rows, box.top, box.bottom)
    column, beside = _cells(columns, box.left, box.right)
    spread = maps[:, row[:, None], column]
    usual = np.median(maps, (1, 2), keepdims=True)
    return np.where(above[:, None] | beside, usual, spread)


def _cells(patches: int, first: float, last: float) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Along one side of a page: which patch each cell shows, and which cells show none."""
    cells = max(1, round(patches / (last - first)))
    centres = (np.arange(cells) + 0.5) / cells
    place = np.floor((centres - first) / (last - first) * patches).astype(np.intp)
    return place.clip(0, patches - 1), (place < 0) | (place >= patches)


def patch_rows(loaded: LoadedModel, token_ids: NDArray[np.int64], grid: Grid) -> NDArray[np.intp]:
    """Tell which vector of a page stands for which patch.

    Vectors of the prompt around an image are no patches. Families that cut a page into tiles look
    at all of it once more, shrunken, behind the tiles; those vectors are left out, too: each
    stands for as much of the page as a dozen of the tiles' do.

    Args:
        loaded: The model.
        token_ids: (n_vectors,), ids that the page's vectors belong to.
        grid: Patch columns and rows.

    Returns:
        (rows, columns), indices of vectors; the page's top left corner comes first.

    Raises:
        EncodingError: The page has fewer vectors than its grid.
    """
    columns, rows = grid
    (places,) = np.nonzero(token_ids == int(loaded.model.config.image_token_id))
    if len(places) < columns * rows:
        raise EncodingError(
            f"the page has {len(places)} image vectors, expected {columns}x{rows} of its grid"
        )
    places = places[: columns * rows]
    if loaded.family.name not in _TILED:
        return places.reshape(rows, columns)
    # Tiles come row by row, and so do the patches inside each.
    side = math.isqrt(int(loaded.processor.image_seq_len))
    tiles = places.reshape(rows // side, columns // side, side, side)
    return tiles.transpose(0, 2, 1, 3).reshape(rows, columns)
