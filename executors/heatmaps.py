"""Heatmap documents to what the engine takes, and back."""

from __future__ import annotations

from colpali_serve.engine.heatmap import Heatmapper
from colpali_serve.engine.items import Encoded, ImageInput, TextInput
from colpali_serve.executors.inputs import query_input
from colpali_serve.schemas import (
    ColPaliError,
    HeatmapDoc,
    HeatmapParameters,
    InvalidQueryError,
    describe,
)


def heatmap_inputs(
    doc: HeatmapDoc, chosen: HeatmapParameters
) -> tuple[ImageInput, TextInput] | None:
    """Take what is to be embedded out of a document, and clear what it may have brought along.

    Returns:
        Page and query; None where `on_error` is "keep" and the query is bad, which the document
        says then.

    Raises:
        InvalidQueryError: The query is not text alone: an image has no words to draw maps for.
    """
    page, query = doc.page, doc.query
    seen = ImageInput(str(page.id), page.image, page.url)
    page.image = page.url = page.grid = page.box = page.embedding = query.embedding = None
    page.error = query.error = doc.error = doc.maps = doc.grid = None
    doc.tokens, doc.kinds = [], []
    asked = query_input(query)
    if isinstance(asked, ImageInput):
        asked = InvalidQueryError(f"{asked.owner}: is an image, expected text", asked.id)
    if isinstance(asked, TextInput):
        return seen, asked
    if chosen.on_error == "raise":
        raise asked
    doc.error = describe(asked)
    return None


def fill_heatmap(
    doc: HeatmapDoc,
    found: tuple[Encoded | ColPaliError, Encoded | ColPaliError],
    asked: TextInput,
    heatmapper: Heatmapper,
    chosen: HeatmapParameters,
) -> None:
    """Put a heatmap onto a document, or say why there is none.

    Args:
        doc: The document.
        found: What became of its page and its query.
        asked: The query.
        heatmapper: The encoder's.
        chosen: Which tokens are wanted.
    """
    page, query = found
    if isinstance(page, ColPaliError) or isinstance(query, ColPaliError):
        error = page if isinstance(page, ColPaliError) else query
        assert isinstance(error, ColPaliError)
        doc.error = describe(error)
        return
    heatmap = heatmapper(page, query, asked)
    if not chosen.all_tokens:
        heatmap = heatmap.own_text()
    doc.tokens = [token.text for token in heatmap.tokens]
    doc.kinds = [token.kind for token in heatmap.tokens]
    doc.maps, doc.grid = heatmap.maps, list(heatmap.grid)
