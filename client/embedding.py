"""Pages and queries to embeddings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from colpali_serve.client.connection import Connection
from colpali_serve.client.reading import Reading
from colpali_serve.client.results import PageEmbedding, QueryEmbedding
from colpali_serve.client.sources import Pages, iter_sources, read_pages
from colpali_serve.client.steps import Steps, mapped, pipelined
from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    Embedding,
    EncodeParameters,
    InvalidPageError,
    InvalidQueryError,
    PageDoc,
    QueryDoc,
    RemoteError,
    describe,
)

QueryInput: TypeAlias = (
    "str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8] | QueryDoc"
)
"""Text, an image to search by, or a document that is ready. A str is always text."""

Document = TypeVar("Document", PageDoc, QueryDoc)

_SINGLE = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray, QueryDoc)
_BATCH_QUERIES = 32


def page_steps(
    connection: Connection,
    pages: Pages,
    parameters: EncodeParameters,
    reading: Reading,
    batch_pages: int,
    max_in_flight: int,
    done: Callable[[int], None],
) -> Steps[PageEmbedding]:
    """Embed pages, in order, reading only as far ahead as posts are under way.

    Args:
        connection: Where to.
        pages: One page or any number of them.
        parameters: For the service.
        reading: Resolution and limits.
        batch_pages: Pages a post.
        max_in_flight: Posts at once.
        done: Called with the number of pages whenever some are done.
    """

    def finish(exchange: tuple[list[PageDoc], list[PageDoc]]) -> list[PageEmbedding]:
        batch, answer = exchange
        done(len(batch))
        return [
            PageEmbedding(str(doc.id), embedding, _grid(doc), doc.error, doc.scale, _box(doc))
            for doc, embedding in _answered(connection, batch, answer)
        ]

    documents = read_pages(pages, reading, parameters.on_error == "keep")
    return _embed(
        connection, EMBED_IMAGES, documents, parameters, batch_pages, max_in_flight, finish
    )


def query_steps(
    connection: Connection,
    queries: QueryInput | Sequence[QueryInput],
    parameters: EncodeParameters,
    reading: Reading,
    max_in_flight: int,
) -> Steps[QueryEmbedding]:
    """Embed queries, in order; arguments as in `page_steps`."""

    def finish(exchange: tuple[list[QueryDoc], list[QueryDoc]]) -> list[QueryEmbedding]:
        batch, answer = exchange
        return [
            QueryEmbedding(str(doc.id), sent.text, embedding, doc.error)
            for sent, (doc, embedding) in zip(
                batch, _answered(connection, batch, answer), strict=True
            )
        ]

    documents = read_queries(queries, reading, parameters.on_error == "keep")
    return _embed(
        connection, EMBED_QUERIES, documents, parameters, _BATCH_QUERIES, max_in_flight, finish
    )


def read_queries(
    queries: QueryInput | Sequence[QueryInput], reading: Reading, keep: bool
) -> Iterator[QueryDoc]:
    """Read queries one by one.

    Args:
        queries: One query or several.
        reading: Resolution and limits for images.
        keep: Yield a document with `error` for a query that cannot be read, and go on.

    Raises:
        InvalidQueryError: A query cannot be read and `keep` is False.
    """
    single = isinstance(queries, _SINGLE) or not isinstance(queries, Iterable)
    items: Iterable[Any] = [queries] if single else queries  # type: ignore[assignment]
    for number, item in enumerate(items, 1):
        name = f"query-{number:04}"
        try:
            yield _read_query(item, name, reading)
        except InvalidQueryError as error:
            if not keep:
                raise
            yield QueryDoc(id=error.item or name, error=describe(error))


def _read_query(item: Any, name: str, reading: Reading) -> QueryDoc:
    if isinstance(item, QueryDoc):
        return item if item.id else item.model_copy(update={"id": name})
    if isinstance(item, str):
        try:
            item.encode()
        except UnicodeEncodeError as error:
            raise InvalidQueryError(
                f"query '{name}': character {error.start} is half of a surrogate pair, "
                "expected text that can be encoded",
                name,
            ) from None
        return QueryDoc(id=name, text=item)
    sources = iter_sources([item], reading)
    try:
        # Loaded before the next one is asked for, as sources want it.
        page = next(sources).load()
        further = next(sources, None)
    except InvalidPageError as error:
        raise InvalidQueryError(f"query '{name}': {error.message}", name) from error
    if further is not None:
        found = f"{page.id}, {further.id} and so on"
        raise InvalidQueryError(f"query '{name}': has pages {found}, expected one page", name)
    own_name = isinstance(item, os.PathLike)
    return QueryDoc(id=page.id if own_name else name, image=page.image)


def _embed(
    connection: Connection,
    endpoint: str,
    documents: Iterator[Document],
    parameters: EncodeParameters,
    batch: int,
    max_in_flight: int,
    finish: Callable[[tuple[list[Document], list[Document]]], list[Any]],
) -> Steps[Any]:
    given = parameters.model_dump()

    def batches() -> Steps[list[Document]]:
        while taken := list(islice(documents, batch)):
            yield [taken]

    def post(documents: list[Document]) -> Future[list[Document]]:
        good = [document for document in documents if document.error is None]
        if good:
            return connection.post(endpoint, good, given)
        nothing: Future[list[Document]] = Future()
        nothing.set_result([])
        return nothing

    return mapped(pipelined(batches(), post, max_in_flight), finish)


def _answered(
    connection: Connection, batch: list[Document], answer: list[Document]
) -> Iterator[tuple[Document, Embedding | None]]:
    """Pair what was sent with what came back; what could not be read was not sent."""
    answers = iter(answer)
    for sent in batch:
        document = sent if sent.error is not None else next(answers)
        if document.error is not None:
            yield document, None
            continue
        if document.embedding is None:
            raise RemoteError(
                f"{connection.address}: '{document.id}' came back without an embedding, "
                "expected a service that embeds",
                str(document.id),
            )
        yield document, np.asarray(document.embedding)


def _grid(page: PageDoc) -> tuple[int, int] | None:
    return None if page.grid is None else (page.grid[0], page.grid[1])


def _box(page: PageDoc) -> tuple[float, float, float, float] | None:
    if page.box is None:
        return None
    left, top, right, bottom = page.box
    return left, top, right, bottom
