"""Pages in the service's memory: put, dropped, listed and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import Any

import numpy as np
from docarray import DocList

from colpali_serve.client.connection import Connection
from colpali_serve.client.reading import Reading
from colpali_serve.client.results import (
    KeptPage,
    QueryEmbedding,
    ResidentPages,
    ResidentScores,
)
from colpali_serve.client.scoring import Block
from colpali_serve.client.sources import read_pages
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
    look_at,
)
from colpali_serve.schemas import (
    PAGES_DROP,
    PAGES_LIST,
    PAGES_PUT,
    SCORE_EMBEDDINGS,
    EncodeParameters,
    InvalidInputError,
    InvalidQueryError,
    PageDoc,
    QueryDoc,
    RemoteError,
    ScoreDoc,
    StoreDoc,
)

_BATCH_IDS = 1024


def put_steps(
    connection: Connection,
    pages: PagesToScore,
    parameters: EncodeParameters,
    reading: Reading,
    batch_pages: int,
    max_in_flight: int,
) -> Steps[KeptPage]:
    """Have pages kept, in order.

    Args:
        connection: Where to.
        pages: Embeddings, or inputs that the service embeds on the way.
        parameters: For the service.
        reading: Resolution and limits.
        batch_pages: Inputs a post; embeddings go as many as fit into a message.
        max_in_flight: Posts at once.

    Raises:
        InvalidInputError: Embeddings are to be pooled, which is done where they are made.
    """
    embedded, values = look_at(pages)
    batches: Steps[list[PageDoc]]
    if embedded:
        if parameters.pool_factor not in (None, 1):
            raise InvalidInputError(
                f"pool_factor is {parameters.pool_factor} for embeddings, expected images: pages "
                "are pooled when they are embedded",
                "pool_factor",
            )
        found = items("page", values, _no_inputs, Checks().page)
        batches = mapped(grouped(found), lambda group: [[_document(item) for item in group]])
    else:
        batches = _batches(read_pages(values, reading, parameters.on_error == "keep"), batch_pages)
    given = parameters.model_dump()

    def finish(exchange: tuple[list[PageDoc], list[PageDoc]]) -> list[KeptPage]:
        sent, answer = exchange
        answers = iter(answer)
        return [KeptPage(str(page.id), page.error or next(answers).error) for page in sent]

    return mapped(
        pipelined(batches, lambda batch: _post_good(connection, batch, given), max_in_flight),
        finish,
    )


def drop_steps(connection: Connection, ids: Sequence[str] | None, max_in_flight: int) -> Steps[str]:
    """Have pages dropped; None means all that are there.

    Yields:
        Steps that give the ids.
    """
    if ids is None:
        (found,) = yield from collected(list_steps(connection))
        ids = found.ids

    def batches() -> Steps[list[PageDoc]]:
        for start in range(0, len(ids), _BATCH_IDS):
            yield [[PageDoc(id=item) for item in ids[start : start + _BATCH_IDS]]]

    yield from mapped(
        pipelined(batches(), lambda batch: connection.post(PAGES_DROP, batch, {}), max_in_flight),
        lambda exchange: [str(page.id) for page in exchange[0]],
    )


def list_steps(connection: Connection) -> Steps[ResidentPages]:
    """Ask what is there."""
    future = connection.post(PAGES_LIST, [StoreDoc()], {})
    yield future
    (answer,) = future.result()
    yield [ResidentPages(answer.ids, answer.size_mb or 0.0, answer.max_mb or 0.0)]


def score_resident_steps(
    connection: Connection,
    queries: QueriesToScore,
    ids: Sequence[str] | None,
    top_k: int | None,
    embed_queries: Callable[[Any], Steps[QueryEmbedding]],
    max_in_flight: int,
) -> Steps[Block]:
    """Score queries against pages that are there.

    Args:
        connection: Where to.
        queries: Embeddings, or inputs to be embedded.
        ids: Which pages; None means all.
        top_k: Pages of each query that are wanted; None means all.
        embed_queries: Embeds inputs.
        max_in_flight: Posts at once.

    Yields:
        Steps that give one block for each run of queries, in order.

    Raises:
        InvalidQueryError: There are no queries.
        InvalidInputError: A page is not there.
    """
    rows = yield from collected(items("query", queries, embed_queries, Checks().query))
    if not rows:
        raise InvalidQueryError("no queries, expected at least one")
    if ids is not None and not ids:
        # An empty list on the wire means all.
        yield [Block([], np.empty((len(rows), 0), np.float32))]
        return

    def post(group: list[Item]) -> Future[list[ScoreDoc]]:
        usable = DocList[QueryDoc](group[index].query() for index in good(group))
        if not usable:
            nothing: Future[list[ScoreDoc]] = Future()
            nothing.set_result([])
            return nothing
        document = ScoreDoc(queries=usable, resident=list(ids or ()))
        return connection.post(SCORE_EMBEDDINGS, [document], {"top_k": top_k})

    def finish(exchange: tuple[list[Item], list[ScoreDoc]]) -> list[Block]:
        group, answer = exchange
        if not answer:
            return [Block([], np.empty((len(group), 0), np.float32))]
        found, columns, usable = answer[0].scores, answer[0].resident, good(group)
        shape = None if found is None else found.shape
        if found is None or columns is None or shape != (len(usable), len(columns)):
            raise RemoteError(
                f"{connection.address}: {SCORE_EMBEDDINGS} answered with scores of shape {shape}, "
                f"expected ({len(usable)}, resident pages)"
            )
        scores = np.full((len(group), len(columns)), np.nan, np.float32)
        scores[usable] = np.asarray(found)
        return [Block(columns, scores)]

    yield from mapped(pipelined(grouped(done(rows)), post, max_in_flight), finish)


def stacked(blocks: Sequence[Block]) -> ResidentScores:
    """Put the blocks of all queries below each other.

    Raises:
        RemoteError: Pages came or went between two of them.
    """
    ids = next((block.ids for block in blocks if block.ids), [])
    rows = []
    for block in blocks:
        if block.ids and block.ids != ids:
            raise RemoteError("the resident pages changed while they were scored, try again")
        missing = np.full((len(block.scores), len(ids)), np.nan, np.float32)
        rows.append(block.scores if block.ids else missing)
    return ResidentScores(ids, np.concatenate(rows))


def _no_inputs(values: Any) -> Steps[Any]:
    raise AssertionError("there are embeddings only")


def _document(item: Item) -> PageDoc:
    return PageDoc(id=item.id, error=item.error) if item.values is None else item.page()


def _batches(documents: Iterator[PageDoc], size: int) -> Steps[list[PageDoc]]:
    while taken := list(islice(documents, size)):
        yield [taken]


def _post_good(
    connection: Connection, batch: list[PageDoc], given: dict[str, Any]
) -> Future[list[PageDoc]]:
    # What could not be read, or embedded before, is not sent.
    if documents := [page for page in batch if page.error is None]:
        return connection.post(PAGES_PUT, documents, given)
    nothing: Future[list[PageDoc]] = Future()
    nothing.set_result([])
    return nothing
