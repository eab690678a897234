"""BentoColPali's four routes: its payloads, its answers, and a few options more."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from docarray import DocList
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from colpali_serve.gateway.http.arrays import as_lists, described, dump
from colpali_serve.gateway.http.bodies import EmbedImages, EmbedQueries, Score, ScoreEmbeddings
from colpali_serve.gateway.http.contract import PIXEL, EmbeddingsAnswer, Scores, gives, takes
from colpali_serve.gateway.http.embedding import (
    Outcome,
    embed_all,
    embed_as_they_come,
    embed_listed,
)
from colpali_serve.gateway.http.errors import describe
from colpali_serve.gateway.http.flow import FlowCaller, unless_gone
from colpali_serve.gateway.http.pages import Page, PageReader
from colpali_serve.gateway.http.reading import Sent, read
from colpali_serve.schemas import (
    EMBED_QUERIES,
    SCORE,
    SCORE_EMBEDDINGS,
    ColPaliError,
    PageDoc,
    QueryDoc,
    ScoreDoc,
)

router = APIRouter(tags=["embed and score"])

_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_SCORES = "MaxSim, (n_queries, n_pages)."


class PlacedScores(BaseModel):
    """Scores of uploaded pages.

    Attributes:
        scores: MaxSim, (n_queries, n_pages).
        pages: The file and page that each column stands for.
    """

    scores: list[list[float]]
    pages: list[dict[str, Any]]


@router.post(
    "/embed_images",
    responses=gives(
        EmbeddingsAnswer,
        "An embedding a page.",
        content={_NDJSON: {"schema": {"type": "string"}}},
    ),
)
@takes(EmbedImages, {"items": [{"url": PIXEL}], "encoding_format": "base64"}, files=True)
async def embed_images(request: Request) -> Response:
    """Embed page images.

    A JSON body is answered with nested lists (n_pages, n_vectors, dim), as BentoColPali does, or
    with objects where `encoding_format` is `base64`; a form with an object for each page, which
    names its file and page number. With `Accept: application/x-ndjson` each page becomes a line
    as soon as it is done, in order, and a bad page a line with its `error`.
    """
    sent = await read(request, EmbedImages)
    body = sent.body
    flow: FlowCaller = request.app.state.flow
    reader: PageReader = request.app.state.pages
    parameters = {"embedding_dtype": body.embedding_dtype, "pool_factor": body.pool_factor}
    if _NDJSON in request.headers.get("accept", ""):
        pages = reader.pages(body.items, sent.files, body.dpi, body.thumbnails)
        lines = _lines(embed_as_they_come(flow, pages, parameters), body)
        return StreamingResponse(lines, media_type=_NDJSON)
    if not sent.multipart:
        listed = reader.listed(body.items)
        outcomes = await unless_gone(request, embed_listed(flow, listed, parameters))
        return await _embeddings([outcome.doc for outcome in outcomes], body.encoding_format)
    pages = reader.pages(body.items, sent.files, body.dpi)
    outcomes = await unless_gone(request, embed_all(flow, pages, parameters))
    entries = (_entry(index, outcome, body) for index, outcome in enumerate(outcomes))
    return Response(await dump(entries), media_type=_JSON)


@router.post(
    "/embed_queries",
    responses=gives(EmbeddingsAnswer, "An embedding a query."),
)
@takes(EmbedQueries, {"items": ["total of the invoice"], "encoding_format": "base64"})
async def embed_queries(request: Request) -> Response:
    """Embed text queries, as `/embed_images` embeds pages."""
    body = (await read(request, EmbedQueries)).body
    flow: FlowCaller = request.app.state.flow
    parameters = {"embedding_dtype": body.embedding_dtype}
    docs = await unless_gone(request, flow.post(EMBED_QUERIES, texts(body.items), parameters))
    return await _embeddings(docs, body.encoding_format)


@router.post("/score_embeddings", responses=gives(Scores, _SCORES))
@takes(
    ScoreEmbeddings,
    {"image_embeddings": [[[1.0, 0.0], [0.0, 1.0]]], "query_embeddings": [[[0.6, 0.8]]]},
)
async def score_embeddings(request: Request) -> Response:
    """Score embeddings against each other: MaxSim, (n_queries, n_pages)."""
    body = (await read(request, ScoreEmbeddings)).body
    flow: FlowCaller = request.app.state.flow
    queries = [QueryDoc(id=str(i), embedding=a) for i, a in enumerate(body.query_embeddings)]
    pages = [PageDoc(id=str(i), embedding=a) for i, a in enumerate(body.image_embeddings)]
    doc = score_doc(queries, pages)
    [scored] = await unless_gone(request, flow.post(SCORE_EMBEDDINGS, [doc]))
    return Response(orjson.dumps(as_lists(scored.scores)), media_type=_JSON)


@router.post("/score", responses=gives(Scores | PlacedScores, _SCORES))
@takes(Score, {"images": [{"url": PIXEL}], "queries": ["total of the invoice"]}, files=True)
async def score(request: Request) -> Response:
    """Score queries against page images: MaxSim, (n_queries, n_pages).

    A form is answered with `scores` and the `pages` that its columns stand for.
    """
    sent = await read(request, Score)
    body = sent.body
    flow: FlowCaller = request.app.state.flow
    pages, docs = await pages_to_score(request, sent, body.images, body.dpi, body.pool_factor)
    doc = score_doc(texts(body.queries), docs)
    parameters = {"pool_factor": body.pool_factor}
    [scored] = await unless_gone(request, flow.post(SCORE, [doc], parameters))
    scores = as_lists(scored.scores)
    if not sent.multipart:
        return Response(orjson.dumps(scores), media_type=_JSON)
    answer = {"scores": scores, "pages": [page.place for page in pages]}
    return Response(orjson.dumps(answer), media_type=_JSON)


def texts(items: list[str]) -> list[QueryDoc]:
    """Return text queries, called by their indices."""
    return [QueryDoc(id=str(index), text=text) for index, text in enumerate(items)]


def score_doc(queries: list[QueryDoc], pages: list[PageDoc]) -> ScoreDoc:
    """Return the document of a request to score."""
    return ScoreDoc(queries=DocList[QueryDoc](queries), pages=DocList[PageDoc](pages))


async def pages_to_score(
    request: Request,
    sent: Sent[Any],
    images: list[Any],
    dpi: int,
    pool_factor: int | None = None,
) -> tuple[list[Page], list[PageDoc]]:
    """Return the pages of a request, embedded already where they come from files.

    Files may be large PDFs: their pages are embedded as they are rendered, and only the
    embeddings are kept.

    Returns:
        The pages, and the documents to be scored.

    Raises:
        ColPaliError: There is no page, or one is bad.
    """
    reader: PageReader = request.app.state.pages
    if not sent.multipart:
        listed = reader.listed(images)
        return listed, [page.doc for page in listed if page.doc]
    pages = reader.pages(images, sent.files, dpi)
    parameters = {"pool_factor": pool_factor}
    outcomes = await unless_gone(request, embed_all(request.app.state.flow, pages, parameters))
    return [o.page for o in outcomes], [o.doc for o in outcomes if o.doc]


async def _embeddings(docs: list[Any], form: Any) -> Response:
    arrays = [doc.embedding for doc in docs]
    if form == "float":
        body = await dump(as_lists(array) for array in arrays)
    else:
        body = await dump(described(array, form, str(array.dtype)) for array in arrays)
    return Response(body, media_type=_JSON)


async def _lines(
    outcomes: AsyncGenerator[Outcome, None], body: EmbedImages
) -> AsyncGenerator[bytes, None]:
    index = 0
    try:
        async with aclosing(outcomes):
            async for outcome in outcomes:
                yield orjson.dumps(_entry(index, outcome, body)) + b"\n"
                index += 1
    except ColPaliError as error:
        # The status has been sent; what is wrong with the whole request can only be a line.
        yield orjson.dumps({"index": index, "error": describe(error)}) + b"\n"


def _entry(index: int, outcome: Outcome, body: EmbedImages) -> dict[str, Any]:
    page = outcome.page
    entry: dict[str, Any] = {"index": index, "id": page.id, **page.place}
    if page.thumbnail:
        small = base64.b64encode(page.thumbnail).decode()
        entry["thumbnail"] = f"data:image/jpeg;base64,{small}"
    if outcome.doc is None or outcome.doc.embedding is None:
        error = outcome.error
        return entry | {"error": describe(error) if error else None}
    array = outcome.doc.embedding
    entry["grid"] = outcome.doc.grid
    if outcome.doc.box is not None:
        entry["box"] = outcome.doc.box
    return entry | described(array, body.encoding_format, str(array.dtype))
