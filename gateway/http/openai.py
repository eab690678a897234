"""`/v1/embeddings`, `/v1/rerank` and `/v1/score`: the shapes of OpenAI, Jina, Cohere and vLLM."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from colpali_serve.gateway.http.arrays import described, dump
from colpali_serve.gateway.http.bento import pages_to_score, score_doc
from colpali_serve.gateway.http.contract import PIXEL, gives, takes
from colpali_serve.gateway.http.embedding import embed_all
from colpali_serve.gateway.http.flow import FlowCaller, unless_gone
from colpali_serve.gateway.http.images import ImageUrl
from colpali_serve.gateway.http.model_name import model_name
from colpali_serve.gateway.http.openai_answers import EmbeddingList, Ranking, ScoreList
from colpali_serve.gateway.http.openai_bodies import Embeddings, Rerank, ScorePairs, Text
from colpali_serve.gateway.http.pages import PageReader
from colpali_serve.gateway.http.reading import read
from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    SCORE,
    InvalidInputError,
    InvalidQueryError,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    owner,
)

router = APIRouter(prefix="/v1", tags=["other vocabularies"])

_JSON = "application/json"


@router.post("/embeddings", responses=gives(EmbeddingList, "An entry of `data` an input."))
@takes(
    Embeddings,
    {
        "input": ["total of the invoice", {"image": PIXEL}],
        "model": "colpali-tiny",
        "encoding_format": "base64",
    },
    files=True,
)
async def embeddings(request: Request) -> Response:
    """Embed texts and images, in OpenAI's shape.

    Each entry of `data` carries `shape` and `dtype` beside its `embedding`, which is
    (n_vectors, dim): nested lists, or with `encoding_format: base64` the rows one after the other.
    """
    sent = await read(request, Embeddings)
    body = sent.body
    flow: FlowCaller = request.app.state.flow
    if body.dimensions is not None:
        raise InvalidInputError(
            f"dimensions is {body.dimensions}, expected none: the checkpoint decides", "dimensions"
        )
    parameters = {"embedding_dtype": body.embedding_dtype, "pool_factor": body.pool_factor}
    places: list[dict[str, Any]] = [{} for _ in body.input]
    docs: Sequence[Any] = []
    if body.input or not sent.files:
        docs = await unless_gone(request, _embed(flow, body, parameters))
    if sent.files:
        reader: PageReader = request.app.state.pages
        outcomes = await unless_gone(
            request, embed_all(flow, reader.pages([], sent.files, body.dpi), parameters)
        )
        docs = [*docs, *(outcome.doc for outcome in outcomes)]
        places += [outcome.page.place for outcome in outcomes]
    dtype = body.embedding_dtype or "float32"
    entries = (
        {
            "object": "embedding",
            "index": index,
            **place,
            **described(doc.embedding, body.encoding_format, dtype),
        }
        for index, (doc, place) in enumerate(zip(docs, places, strict=True))
    )
    answer = {
        "object": "list",
        "data": orjson.Fragment(await dump(entries)),
        "model": await model_name(request),
        "usage": _usage([doc.embedding for doc in docs]),
    }
    return Response(orjson.dumps(answer), media_type=_JSON)


@router.post("/rerank", responses=gives(Ranking, "Pages, best first."))
@takes(
    Rerank,
    {"query": "total of the invoice", "documents": [PIXEL, {"image": PIXEL}], "top_n": 1},
    files=True,
)
async def rerank(request: Request) -> Response:
    """Rank page images by a query, best first; `relevance_score` is the MaxSim."""
    sent = await read(request, Rerank)
    body = sent.body
    flow: FlowCaller = request.app.state.flow
    pages, docs = await pages_to_score(request, sent, body.documents, body.dpi, body.pool_factor)
    doc = score_doc([_query(0, body.query)], docs)
    top_k = min(body.top_n or len(docs), len(docs))
    parameters = {"pool_factor": body.pool_factor, "top_k": top_k}
    [scored] = await unless_gone(request, flow.post(SCORE, [doc], parameters))
    scores, ranking = _only(scored)
    results = []
    for index in ranking[0].tolist():
        result = {"index": index, "relevance_score": float(scores[0, index])}
        place = pages[index].place
        if place:
            result["document"] = place
        elif body.return_documents:
            result["document"] = {"url": body.documents[index].url}
        results.append(result)
    answer = {"model": await model_name(request), "results": results}
    return Response(orjson.dumps(answer), media_type=_JSON)


@router.post("/score", responses=gives(ScoreList, "A score a pair."))
@takes(ScorePairs, {"text_1": "total of the invoice", "text_2": [PIXEL]}, files=True)
async def score(request: Request) -> Response:
    """Score pairs of a query and a page: one query against each page, or pair by pair."""
    sent = await read(request, ScorePairs)
    body = sent.body
    flow: FlowCaller = request.app.state.flow
    _, pages = await pages_to_score(request, sent, body.text_2, body.dpi, body.pool_factor)
    queries = [_query(index, item) for index, item in enumerate(body.text_1)]
    if len(queries) not in (1, len(pages)):
        raise InvalidInputError(
            f"there are {len(queries)} queries for {len(pages)} pages, expected one for all or one "
            "for each"
        )
    if len(queries) == 1:
        docs = [score_doc(queries, pages)]
    else:
        docs = [score_doc([query], [page]) for query, page in zip(queries, pages, strict=True)]
    parameters = {"pool_factor": body.pool_factor}
    scored = await unless_gone(request, flow.post(SCORE, docs, parameters))
    scores = np.concatenate([_only(doc)[0].ravel() for doc in scored])
    answer = {
        "object": "list",
        "data": [
            {"index": index, "object": "score", "score": value}
            for index, value in enumerate(scores.tolist())
        ],
        "model": await model_name(request),
    }
    return Response(orjson.dumps(answer), media_type=_JSON)


async def _embed(
    flow: FlowCaller, body: Embeddings, parameters: Mapping[str, Any]
) -> list[QueryDoc | PageDoc]:
    """Embed queries and pages, and put them back into the order in which they came."""
    if not body.input:
        raise InvalidInputError("input is empty, expected at least one text or image", "input")
    queries: dict[int, QueryDoc] = {}
    pages: dict[int, PageDoc] = {}
    for index, item in enumerate(body.input):
        if isinstance(item, ImageUrl) and body.task != "retrieval.query":
            pages[index] = PageDoc(id=str(index), url=item.url)
        elif isinstance(item, Text) and body.task == "retrieval.passage":
            raise InvalidInputError(
                f"input {index} is a text, expected an image: pages are images here", str(index)
            )
        else:
            queries[index] = _query(index, item)
    found: dict[int, QueryDoc | PageDoc] = {}
    # Queries first: one that is wrong is known before a page has cost anything.
    for endpoint, docs in ((EMBED_QUERIES, queries), (EMBED_IMAGES, pages)):
        embedded: list[Any] = await flow.post(endpoint, list(docs.values()), parameters)
        found |= dict(zip(docs, embedded, strict=True))
    return [found[index] for index in range(len(body.input))]


def _query(index: int, item: Text | ImageUrl) -> QueryDoc:
    if isinstance(item, Text):
        return QueryDoc(id=str(index), text=item.text)
    head, comma, payload = item.url.partition(",")
    name = str(index)
    if not head.lower().startswith("data:") or not comma or not head.lower().endswith(";base64"):
        raise InvalidQueryError(
            f"{owner('query', name)}: image is no data: URI with base64, expected one", name
        )
    try:
        return QueryDoc(id=name, image=base64.b64decode(payload, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidQueryError(
            f"{owner('query', name)}: data URI has bad base64, expected base64", name
        ) from None


def _only(doc: ScoreDoc) -> tuple[Any, Any]:
    return np.asarray(doc.scores), np.asarray(doc.ranking)


def _usage(embeddings: Sequence[Any]) -> dict[str, int]:
    """Count vectors: the model makes one of each token, of pages and queries alike."""
    count = sum(len(embedding) for embedding in embeddings)
    return {"prompt_tokens": count, "total_tokens": count}
