"""Heatmaps from a service."""

from __future__ import annotations

import numpy as np

from colpali_serve.client.connection import Connection
from colpali_serve.client.images import decode_data_uri
from colpali_serve.client.reading import Reading
from colpali_serve.client.results import Heatmap
from colpali_serve.client.sources import PageInput, iter_sources
from colpali_serve.client.steps import Steps
from colpali_serve.schemas import (
    HEATMAP,
    HeatmapDoc,
    InvalidInputError,
    InvalidPageError,
    PageDoc,
    QueryDoc,
    RemoteError,
)

_QUERY = "query-0001"


def heatmap_steps(
    connection: Connection,
    query: str,
    page: PageInput,
    number: int | None,
    all_tokens: bool,
    reading: Reading,
) -> Steps[Heatmap]:
    """Ask for one heatmap.

    Args:
        connection: Where to.
        query: The text.
        page: Whatever stands for one page, or for several if `number` is given.
        number: Which of them, from 1.
        all_tokens: Show also the tokens that the checkpoint puts around the text.
        reading: Resolution and limits.

    Yields:
        Steps that give one result.

    Raises:
        InvalidPageError: The page cannot be read, or it is not one page.
        InvalidInputError: `query` is no text.
        RemoteError: The service answered with something else.
    """
    if not isinstance(query, str):
        raise InvalidInputError(f"query is a {type(query).__name__}, expected text", _QUERY)
    document = read_one_page(page, number, reading)
    request = HeatmapDoc(page=document, query=QueryDoc(id=_QUERY, text=query))
    future = connection.post(HEATMAP, [request], {"all_tokens": all_tokens})
    yield future
    (answer,) = future.result()
    maps = np.asarray(np.empty(0) if answer.maps is None else answer.maps, np.float32)
    if maps.ndim != 3 or len(maps) != len(answer.tokens) or len(answer.kinds) != len(maps):
        raise RemoteError(
            f"{connection.address}: {HEATMAP} answered with maps of shape {maps.shape} for "
            f"{len(answer.tokens)} tokens, expected (n_tokens, rows, columns)"
        )
    image = document.image or decode_data_uri(document.url or "", str(document.id))
    yield [Heatmap(str(document.id), query, list(answer.tokens), list(answer.kinds), maps, image)]


def read_one_page(page: PageInput, number: int | None, reading: Reading) -> PageDoc:
    """Read the page of a heatmap.

    Args:
        page: Whatever stands for one page, or for several if `number` is given.
        number: Which of them, from 1.
        reading: Resolution and limits.

    Raises:
        InvalidPageError: It cannot be read, it is not one page, or it has no page `number`.
    """
    sources = iter_sources(page, reading)
    count, name = 0, "page-0001"
    for count, source in enumerate(sources, 1):
        name = source.id
        if count != (number or 1):
            continue
        document = source.load()
        if number is None and (further := next(sources, None)) is not None:
            raise InvalidPageError(
                f"page '{name}': {further.id} comes behind it, expected one page, or a number "
                "that says which",
                name,
            )
        return document
    raise InvalidPageError(f"page '{name}': number is {number}, expected 1 to {count}", name)
