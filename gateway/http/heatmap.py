"""Where on a page a query looks: numbers for programs, a picture for people."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from colpali_serve.client.overlay import chosen
from colpali_serve.gateway.http.bodies import Body, FileOptions
from colpali_serve.gateway.http.contract import PIXEL, gives, takes
from colpali_serve.gateway.http.flow import FlowCaller, unless_gone
from colpali_serve.gateway.http.images import Image
from colpali_serve.gateway.http.pages import PageReader
from colpali_serve.gateway.http.reading import Sent, read
from colpali_serve.gateway.http.rendering import Rendering
from colpali_serve.schemas import HEATMAP, HeatmapDoc, InvalidInputError, QueryDoc

router = APIRouter(tags=["heatmap"])

_PNG = "image/png"
_VIEW_SIDE = 1600


class Heatmap(Body, FileOptions):
    """A page and a query.

    Attributes:
        query: Text.
        image: The page; a form may bring it as the one file of `files` instead.
        number: Page of an uploaded PDF, from 1.
        token: Index of the token to draw in a PNG; by default all pieces of the query's text.
        all_tokens: Answer also for tokens that the checkpoint puts around the query's text.
        return_image: Add the page itself, as a JPEG of at most 1600 pixels a side, to the JSON.
    """

    query: str
    image: Image | None = None
    number: int = Field(default=1, ge=1)
    token: int | None = Field(default=None, ge=0)
    all_tokens: bool = False
    return_image: bool = False


class HeatmapAnswer(BaseModel):
    """Similarities of a query's tokens with the patches of a page.

    Attributes:
        file: Name of the uploaded file, if there was one.
        page: Its page, from 1.
        tokens: Pieces of the query, as typed.
        kinds: What each is: ``text``; with `all_tokens` also ``prompt`` and ``special``.
        grid: [columns, rows].
        maps: (n_tokens, rows, columns), in [-1, 1]; the first row is the page's top.
        max: (rows, columns), the largest of the pieces of the query's text at each place.
        image: The page as a data: URI, where it was asked for.
    """

    file: str | None = None
    page: int | None = None
    tokens: list[str]
    kinds: list[str]
    grid: list[int]
    maps: list[list[list[float]]]
    max: list[list[float]]
    image: str | None = None


@router.post(
    "/heatmap",
    responses=gives(
        HeatmapAnswer,
        "A map a token.",
        content={_PNG: {"schema": {"type": "string", "contentMediaType": _PNG}}},
    ),
)
@takes(Heatmap, {"query": "total of the invoice", "image": PIXEL}, files=True)
async def heatmap(request: Request) -> Response:
    """Tell where on a page each token of a query finds its like.

    JSON: `tokens` (pieces of the query), `kinds`, `grid` [columns, rows], `maps` (n_tokens, rows,
    columns) of similarities in [-1, 1], and their `max` over the pieces of the query's text. With
    `Accept: image/png` the page itself, coloured.
    """
    sent = await read(request, Heatmap)
    return await unless_gone(request, _answer(request, sent))


async def _answer(request: Request, sent: Sent[Heatmap]) -> Response:
    body = sent.body
    reader: PageReader = request.app.state.pages
    rendering: Rendering = request.app.state.rendering
    flow: FlowCaller = request.app.state.flow
    picture = _PNG in request.headers.get("accept", "")
    if picture and body.image is not None and body.image.url[:5].lower() != "data:":
        raise InvalidInputError(
            "a picture is drawn over images that the request brings along, expected a data: URI or "
            "a file",
            "image",
        )
    page, content = await reader.one(body.image, sent.files, body.number, body.dpi)
    asked = HeatmapDoc(page=page.doc, query=QueryDoc(id="query", text=body.query))
    [found] = await flow.post(HEATMAP, [asked], {"all_tokens": body.all_tokens})
    maps = np.asarray(found.maps, np.float32)
    own = np.array([kind == "text" for kind in found.kinds], bool)
    if picture:
        drawn = await rendering.overlay(content, page.id, chosen(maps, own, body.token))
        return Response(drawn, media_type=_PNG)
    answer: dict[str, Any] = {
        **page.place,
        "tokens": found.tokens,
        "kinds": found.kinds,
        "grid": found.grid,
        "maps": maps.round(4),
        "max": maps[own].max(axis=0, initial=-1).round(4),
    }
    if body.return_image and content:
        view = await rendering.thumbnail(content, page.id, _VIEW_SIDE)
        answer["image"] = f"data:image/jpeg;base64,{base64.b64encode(view).decode()}"
    return Response(
        orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json"
    )
