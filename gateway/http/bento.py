"""BentoColPali's four routes, its payloads and its answers."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from colpali_serve.gateway.http.arrays import EncodingFormat, as_lists, described, dump
from colpali_serve.gateway.http.flow import FlowCaller, unless_gone
from colpali_serve.gateway.http.images import Image, pages_of
from colpali_serve.gateway.http.reading import read
from colpali_serve.schemas import EMBED_IMAGES, EMBED_QUERIES, QueryDoc

router = APIRouter(tags=["embed and score"])


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EmbedImages(_Body):
    """Pages to embed."""

    items: list[Image] = []
    encoding_format: EncodingFormat = "float"
    embedding_dtype: str | None = None
    pool_factor: int | None = None


class EmbedQueries(_Body):
    """Queries to embed."""

    items: list[str]
    encoding_format: EncodingFormat = "float"
    embedding_dtype: str | None = None


@router.post("/embed_images")
async def embed_images(request: Request) -> Response:
    """Embed page images."""
    sent = await read(request, EmbedImages)
    body = sent.body
    flow: FlowCaller = request.app.state.flow
    pages = pages_of(body.items, sent.files)
    parameters = {"embedding_dtype": body.embedding_dtype, "pool_factor": body.pool_factor}
    docs = await unless_gone(
        request, flow.post(EMBED_IMAGES, [page.doc for page in pages], parameters)
    )
    arrays = [doc.embedding for doc in docs]
    return await _answer(arrays, body.encoding_format)


@router.post("/embed_queries")
async def embed_queries(request: Request) -> Response:
    """Embed text queries."""
    body = (await read(request, EmbedQueries)).body
    flow: FlowCaller = request.app.state.flow
    queries = [QueryDoc(id=str(index), text=text) for index, text in enumerate(body.items)]
    parameters = {"embedding_dtype": body.embedding_dtype}
    docs = await unless_gone(request, flow.post(EMBED_QUERIES, queries, parameters))
    return await _answer([doc.embedding for doc in docs], body.encoding_format)


async def _answer(arrays: list, form: EncodingFormat) -> Response:  # type: ignore[type-arg]
    if form == "float":
        body = await dump(as_lists(array) for array in arrays)
    else:
        body = await dump(described(array, form, str(array.dtype)) for array in arrays)
    return Response(body, media_type="application/json")
