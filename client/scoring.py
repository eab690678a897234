"""Scores of queries and pages, in messages of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from docarray import DocList
from numpy.typing import NDArray

from colpali_serve.client.connection import Connection
from colpali_serve.client.embedding import QueryInput
from colpali_serve.client.results import PageEmbedding, QueryEmbedding
from colpali_serve.client.sources import SINGLE, PageInput, Pages
from colpali_serve.client.steps import Steps, collected, mapped, pipelined
from colpali_serve.schemas import (
    SCORE_EMBEDDINGS,
    Embedding,
    InvalidInputError,
    InvalidQueryError,
    PageDoc,
    QueryDoc,
    RemoteError,
    ScoreDoc,
    check_embedding,
)

QueriesToScore: TypeAlias = (
    "QueryInput | QueryEmbedding | Embedding | Sequence[QueryInput | QueryEmbedding | Embedding]"
)
PagesToScore: TypeAlias = (
    "Pages | PageEmbedding | Embedding | Iterable[PageInput | PageEmbedding | Embedding]"
)

Scores = NDArray[np.float32]

_EMBEDDED = (PageEmbedding, QueryEmbedding)
_MAX_GROUP_BYTES = 16 * 1024**2
_MAX_GROUP_ITEMS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Scores of all queries and some pages.

    Attributes:
        ids: The pages.
        scores: float32 (n_queries, len(ids)), NaN where the query or the page failed.
    """

    ids: list[str]
    scores: Scores


class _Item(NamedTuple):
    id: str
    embedding: Embedding | None


class _Part(NamedTuple):
    """What one post scores: some queries and some pages."""

    queries: list[_Item]
    pages: list[_Item]


def score_steps(
    connection: Connection,
    queries: QueriesToScore,
    pages: PagesToScore,
    embed_queries: Callable[[Any], Steps[QueryEmbedding]],
    embed_pages: Callable[[Any], Steps[PageEmbedding]],
    max_in_flight: int,
) -> Steps[Block]:
    """Score queries against pages, as many pages at a time as fit into a message.

    MaxSim of a query and a page depends on nothing else, so the scores do not depend on which
    pages travel together.

    Args:
        connection: Where to.
        queries: Embeddings, or inputs to be embedded.
        pages: Embeddings, or inputs to be embedded; consumed as posts go out.
        embed_queries: Embeds inputs.
        embed_pages: Embeds inputs.
        max_in_flight: Posts at once.

    Yields:
        Steps that give one block for each run of pages, in order.

    Raises:
        InvalidQueryError: There are no queries.
        InvalidInputError: Embeddings and inputs are mixed, or an embedding is not usable.
    """
    dim: int | None = None

    def checked(kind: str, item: _Item) -> _Item:
        nonlocal dim
        if item.embedding is not None:
            owner = f"{kind} '{item.id}'"
            dim = check_embedding(item.embedding, owner, item.id, dim).shape[1]
        return item

    rows = yield from collected(_items("query", queries, embed_queries, checked))
    if not rows:
        raise InvalidQueryError("no queries, expected at least one")
    groups = yield from collected(_grouped(_done(rows)))
    columns = _items("page", pages, embed_pages, checked)
    parts = mapped(_grouped(columns), lambda group: [_Part(some, group) for some in groups])

    above: list[Scores] = []
    for step in pipelined(parts, lambda part: _post(connection, part), max_in_flight):
        if isinstance(step, Future):
            yield step
            continue
        for part, answer in step:
            above.append(_scores(connection, part, answer))
            if len(above) == len(groups):
                yield [Block([page.id for page in part.pages], np.concatenate(above))]
                above.clear()
    # Tells the number of queries where there are no pages.
    yield [Block([], np.empty((len(rows), 0), np.float32))]


def joined(blocks: Sequence[Block]) -> Block:
    """Put the blocks of all pages side by side."""
    scores = np.concatenate([block.scores for block in blocks], axis=1)
    return Block([item for block in blocks for item in block.ids], scores)


def _items(
    kind: str,
    given: Any,
    embed: Callable[[Any], Steps[Any]],
    checked: Callable[[str, _Item], _Item],
) -> Steps[_Item]:
    embedded, values = _look_at(given)
    if not embedded:
        yield from mapped(embed(values), lambda one: [checked(kind, _Item(one.id, one.embedding))])
        return
    for number, value in enumerate(values, 1):
        name = f"{kind}-{number:04}"
        if isinstance(value, _EMBEDDED):
            yield [checked(kind, _Item(value.id, value.embedding))]
        elif isinstance(value, np.ndarray):
            yield [checked(kind, _Item(name, value))]
        else:
            raise InvalidInputError(
                f"{kind} '{name}': a {type(value).__name__} after embeddings, expected embeddings "
                "only, or none",
                name,
            )


def _look_at(given: Any) -> tuple[bool, Any]:
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
    if isinstance(value, np.ndarray):
        return bool(np.issubdtype(value.dtype, np.floating))
    return isinstance(value, _EMBEDDED)


def _done(items: list[_Item]) -> Steps[_Item]:
    yield items


def _grouped(items: Steps[_Item]) -> Steps[list[_Item]]:
    """Cut into runs that fit into a message, or of one item that is larger."""
    group: list[_Item] = []
    size = 0
    for step in items:
        if isinstance(step, Future):
            yield step
            continue
        for item in step:
            more = 0 if item.embedding is None else item.embedding.nbytes
            full = len(group) == _MAX_GROUP_ITEMS or size + more > _MAX_GROUP_BYTES
            if group and full:
                yield [group]
                group, size = [], 0
            group.append(item)
            size += more
    if group:
        yield [group]


def _good(items: list[_Item]) -> list[int]:
    return [index for index, item in enumerate(items) if item.embedding is not None]


def _post(connection: Connection, part: _Part) -> Future[list[ScoreDoc]]:
    queries = [part.queries[index] for index in _good(part.queries)]
    pages = [part.pages[index] for index in _good(part.pages)]
    if not queries or not pages:
        nothing: Future[list[ScoreDoc]] = Future()
        nothing.set_result([])
        return nothing
    document = ScoreDoc(
        queries=DocList[QueryDoc](QueryDoc(id=q.id, embedding=q.embedding) for q in queries),
        pages=DocList[PageDoc](PageDoc(id=p.id, embedding=p.embedding) for p in pages),
    )
    return connection.post(SCORE_EMBEDDINGS, [document], {})


def _scores(connection: Connection, part: _Part, answer: list[ScoreDoc]) -> Scores:
    scores = np.full((len(part.queries), len(part.pages)), np.nan, np.float32)
    if answer:
        good = _good(part.queries), _good(part.pages)
        found = answer[0].scores
        shape = None if found is None else found.shape
        if found is None or shape != (len(good[0]), len(good[1])):
            raise RemoteError(
                f"{connection.address}: {SCORE_EMBEDDINGS} answered with scores of shape {shape}, "
                f"expected ({len(good[0])}, {len(good[1])})"
            )
        scores[np.ix_(*good)] = np.asarray(found)
    return scores
