"""What a caller wants scored: embeddings of any form, or inputs to be embedded first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from colpali_serve.client.embedding import QueryInput
from colpali_serve.client.results import PageEmbedding, QueryEmbedding
from colpali_serve.client.sources import SINGLE, PageInput, Pages
from colpali_serve.client.steps import Steps, mapped
from colpali_serve.schemas import (
    Compressed,
    Embedding,
    InvalidInputError,
    PageDoc,
    PageValues,
    QueryDoc,
    check_embedding,
    check_page_values,
    owner,
)

QueriesToScore: TypeAlias = (
    "QueryInput | QueryEmbedding | Embedding | Sequence[QueryInput | QueryEmbedding | Embedding]"
)
PagesToScore: TypeAlias = (
    "Pages | PageEmbedding | PageValues | Iterable[PageInput | PageEmbedding | PageValues]"
)

_MAX_GROUP_BYTES = 16 * 1024**2
_MAX_GROUP_ITEMS = 1024


class Item(NamedTuple):
    """A query or a page by name, with its embedding; None where it failed."""

    id: str
    values: PageValues | None
    error: str | None = None

    def query(self) -> QueryDoc:
        """Return the document that carries a query."""
        return QueryDoc(id=self.id, embedding=self.values)

    def page(self) -> PageDoc:
        """Return the document that carries a page."""
        if isinstance(self.values, Compressed):
            return PageDoc(id=self.id, embedding=self.values.values, scale=self.values.scale)
        return PageDoc(id=self.id, embedding=self.values)


class Checks:
    """Refuses embeddings that are not usable, or not of the width of the ones before them."""

    def __init__(self) -> None:
        self._dim: int | None = None

    def query(self, item: Item) -> Item:
        """Return a query that is usable.

        Raises:
            EmbeddingShapeError: It is not.
        """
        if item.values is not None:
            name = owner("query", item.id)
            self._dim = check_embedding(item.values, name, item.id, self._dim).shape[1]
        return item

    def page(self, item: Item) -> Item:
        """Return a page that is usable.

        Raises:
            EmbeddingShapeError: It is not.
        """
        if item.values is not None:
            compressed = item.values if isinstance(item.values, Compressed) else None
            array = item.values if compressed is None else compressed.values
            scale = None if compressed is None else compressed.scale
            found = check_page_values(array, scale, owner("page", item.id), item.id, self._dim)
            self._dim = found.dim if isinstance(found, Compressed) else found.shape[1]
        return item


def items(
    kind: str,
    given: Any,
    embed: Callable[[Any], Steps[Any]],
    checked: Callable[[Item], Item],
) -> Steps[Item]:
    """Name what was given, and embed it first where it is no embedding yet.

    Args:
        kind: "query" or "page".
        given: `QueriesToScore` or `PagesToScore`.
        embed: Embeds inputs.
        checked: Refuses bad embeddings.

    Yields:
        Steps that give the items, in order.

    Raises:
        InvalidInputError: Embeddings and inputs are mixed.
    """
    embedded, values = look_at(given)
    if not embedded:
        yield from mapped(embed(values), lambda one: [checked(_embedded(one))])
        return
    for number, value in enumerate(values, 1):
        name = f"{kind}-{number:04}"
        if isinstance(value, (PageEmbedding, QueryEmbedding)):
            yield [checked(_embedded(value))]
        elif isinstance(value, (np.ndarray, Compressed)):
            yield [checked(Item(name, value))]
        else:
            raise InvalidInputError(
                f"{kind} '{name}': a {type(value).__name__} after embeddings, expected embeddings "
                "only, or none",
                name,
            )


def _embedded(one: PageEmbedding | QueryEmbedding) -> Item:
    values: PageValues | None = one.embedding
    if one.embedding is not None and isinstance(one, PageEmbedding) and one.scale is not None:
        values = Compressed(one.embedding, one.scale)
    return Item(one.id, values, one.error)


def look_at(given: Any) -> tuple[bool, Any]:
    """Tell embeddings from inputs to be embedded, by the first of them."""
    if _is_embedding(given):
        several = isinstance(given, np.ndarray) and given.ndim == 3
        return True, given if several else [given]
    if isinstance(given, (*SINGLE, QueryDoc)) or not isinstance(given, Iterable):
        return False, given
    if isinstance(given, (list, tuple)):
        # Handed on as it is: its length is known, for the progress bar.
        return bool(given) and _is_embedding(given[0]), given
    values: Iterator[Any] = iter(given)
    for first in values:
        return _is_embedding(first), chain([first], values)
    return True, []


def _is_embedding(value: Any) -> bool:
    # Whole numbers without a scale are pixels.
    if isinstance(value, np.ndarray):
        return bool(np.issubdtype(value.dtype, np.floating))
    return isinstance(value, (PageEmbedding, QueryEmbedding, Compressed))


def grouped(source: Steps[Item]) -> Steps[list[Item]]:
    """Cut into runs that fit into a message, or of one item that is larger."""
    group: list[Item] = []
    size = 0
    for step in source:
        if isinstance(step, Future):
            yield step
            continue
        for item in step:
            more = 0 if item.values is None else item.values.nbytes
            full = len(group) == _MAX_GROUP_ITEMS or size + more > _MAX_GROUP_BYTES
            if group and full:
                yield [group]
                group, size = [], 0
            group.append(item)
            size += more
    if group:
        yield [group]


def done(ready: list[Item]) -> Steps[Item]:
    """Items that nobody has to wait for."""
    yield ready


def good(some: Sequence[Item]) -> list[int]:
    """Return the indices of the items that have an embedding."""
    return [index for index, item in enumerate(some) if item.values is not None]
