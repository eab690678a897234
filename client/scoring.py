"""Scores of queries and pages, in messages of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from docarray import DocList
from numpy.typing import NDArray

from colpali_serve.client.connection import Connection
from colpali_serve.client.results import PageEmbedding, QueryEmbedding
from colpali_serve.client.steps import Steps, collected, mapped, pipelined
from colpali_serve.client.to_score import (
    Checks,
    Item,
    PagesToScore,
    QueriesToScore,
    done,
    good,
    grouped,
    items,
)
from colpali_serve.schemas import (
    SCORE_EMBEDDINGS,
    InvalidQueryError,
    PageDoc,
    QueryDoc,
    RemoteError,
    ScoreDoc,
)

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Scores of all queries and some pages.

    Attributes:
        ids: The pages.
        scores: float32 (n_queries, len(ids)), NaN where the query or the page failed.
    """

    ids: list[str]
    scores: Scores


class _Part(NamedTuple):
    """What one post scores: some queries and some pages."""

    queries: list[Item]
    pages: list[Item]


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
    checks = Checks()
    rows = yield from collected(items("query", queries, embed_queries, checks.query))
    if not rows:
        raise InvalidQueryError("no queries, expected at least one")
    groups = yield from collected(grouped(done(rows)))
    columns = items("page", pages, embed_pages, checks.page)
    parts = mapped(grouped(columns), lambda group: [_Part(some, group) for some in groups])

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


def _post(connection: Connection, part: _Part) -> Future[list[ScoreDoc]]:
    queries = [part.queries[index].query() for index in good(part.queries)]
    pages = [part.pages[index].page() for index in good(part.pages)]
    if not queries or not pages:
        nothing: Future[list[ScoreDoc]] = Future()
        nothing.set_result([])
        return nothing
    document = ScoreDoc(queries=DocList[QueryDoc](queries), pages=DocList[PageDoc](pages))
    return connection.post(SCORE_EMBEDDINGS, [document], {})


def _scores(connection: Connection, part: _Part, answer: list[ScoreDoc]) -> Scores:
    scores = np.full((len(part.queries), len(part.pages)), np.nan, np.float32)
    if answer:
        usable = good(part.queries), good(part.pages)
        found = answer[0].scores
        shape = None if found is None else found.shape
        if found is None or shape != (len(usable[0]), len(usable[1])):
            raise RemoteError(
                f"{connection.address}: {SCORE_EMBEDDINGS} answered with scores of shape {shape}, "
                f"expected ({len(usable[0])}, {len(usable[1])})"
            )
        scores[np.ix_(*usable)] = np.asarray(found)
    return scores
