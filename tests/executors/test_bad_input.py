"""Bad input gets a clear error that names the item, and the service keeps serving."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from docarray import DocList
from jina import Client
from jina.excepts import BadServer
from PIL import Image

from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    SCORE,
    SCORE_EMBEDDINGS,
    PageDoc,
    QueryDoc,
    ScoreDoc,
)
from tests.engine.test_images import png_header
from tests.executors.posting import pages, png, post, queries, refusal, score

WHITE = png(Image.new("RGB", (60, 60), "white"))
ROWS = np.eye(4, dtype=np.float32)


def page(image: bytes | None = None, **fields: object) -> DocList[PageDoc]:
    return DocList[PageDoc](
        [PageDoc(id="good", image=WHITE), PageDoc(id="a", image=image, **fields)]
    )


@pytest.mark.parametrize(
    ("docs", "message"),
    [
        (page(b"hello"), "page 'a': image is of no known format (5 bytes), expected PNG, JPEG"),
        (page(WHITE[:-30]), "page 'a': image is truncated or broken"),
        (page(b""), "page 'a': image is empty (0 bytes), expected PNG"),
        (page(png_header(9000, 9000)), "page 'a': image is 9000x9000 = 81000000 pixels, expected"),
        (page(b"%PDF-1.4"), "page 'a': image is a PDF, expected PNG"),
        (page(png(Image.new("RGB", (4200, 20)))), "page 'a': image is 4200x20, a ratio of 210:1"),
        (page(), "page 'a': has no image, expected image bytes or a data: URI"),
        (page(url="https://example.org/a.png"), "page 'a': url is 'https://example.org/a.png'"),
        (page(url="data:image/png;base64,@@"), "page 'a': data URI has bad base64"),
        (page(url="data:image/png;base64,\u00e9"), "page 'a': data URI has bad base64"),
    ],
)
def test_bad_pages(client: Client, docs: DocList[PageDoc], message: str) -> None:
    name, text = refusal(client, EMBED_IMAGES, docs)
    assert name == "InvalidPageError"
    assert text.startswith(message)
    kept = post(client, EMBED_IMAGES, docs, on_error="keep")
    assert kept[0].error is None
    assert kept[0].embedding is not None
    assert kept[1].error == f"InvalidPageError: {text}"
    assert kept[1].embedding is None
    assert kept[1].image is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (QueryDoc(id="a", text=""), "query 'a': text is empty, expected at least one word"),
        (QueryDoc(id="a"), "query 'a': has neither text nor image, expected one of them"),
        (QueryDoc(id="a", text="b", image=b"c"), "query 'a': has text and an image, expected one"),
        (QueryDoc(id="a", image=b"c"), "query 'a': image is of no known format"),
        (QueryDoc(id="a", text="word " * 5000), "query 'a': text has "),
    ],
)
def test_bad_queries(client: Client, query: QueryDoc, message: str) -> None:
    docs = DocList[QueryDoc]([QueryDoc(id="good", text="red"), query])
    name, text = refusal(client, EMBED_QUERIES, docs)
    assert name == "InvalidQueryError"
    assert text.startswith(message)
    kept = post(client, EMBED_QUERIES, docs, on_error="keep")
    assert kept[0].embedding is not None
    assert kept[1].error == f"InvalidQueryError: {text}"


def embedded(query: object = ROWS, page: object = ROWS) -> ScoreDoc:
    return ScoreDoc(
        queries=DocList[QueryDoc]([QueryDoc(id="q", embedding=query)]),
        pages=DocList[PageDoc]([PageDoc(id="p", embedding=ROWS), PageDoc(id="a", embedding=page)]),
    )


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        (embedded(page=np.ones(4, np.float32)), "page 'a': embedding has shape (4,), expected"),
        (embedded(page=np.ones((2, 5), np.float32)), "page 'a': embedding has 5 dimensions"),
        (embedded(query=np.full((1, 4), np.nan)), "query 'q': embedding has 4 values that are NaN"),
        (embedded(page=np.full((1, 4), np.inf)), "page 'a': embedding has 4 values that are NaN"),
        (embedded(page=np.ones((0, 4), np.float32)), "page 'a': embedding has shape (0, 4)"),
        (embedded(page=np.ones((2, 4), np.int32)), "page 'a': embedding has dtype int32"),
        (embedded(query=None), "query 'q': embedding is missing"),
    ],
)
def test_bad_embeddings(client: Client, doc: ScoreDoc, message: str) -> None:
    name, text = refusal(client, SCORE_EMBEDDINGS, DocList[ScoreDoc]([doc]))
    assert name == "EmbeddingShapeError"
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("endpoint", "docs", "message"),
    [
        (EMBED_IMAGES, DocList[PageDoc](), "request has 0 pages, expected 1 to 40"),
        (EMBED_QUERIES, DocList[QueryDoc](), "request has 0 queries, expected 1 to 40"),
        (SCORE_EMBEDDINGS, DocList[ScoreDoc](), "request has 0 score documents"),
        (SCORE, DocList[ScoreDoc](), "request has 0 score documents"),
        (SCORE, DocList[ScoreDoc]([ScoreDoc(queries=queries("a"))]), "request has 0 pages"),
        (SCORE_EMBEDDINGS, DocList[ScoreDoc]([ScoreDoc()]), "request has 0 queries"),
        (EMBED_QUERIES, queries(*["a"] * 41), "request has 41 queries, expected 1 to 40"),
        ("/nope", queries("a"), "endpoint '/nope' does not exist, expected one of /embed_images"),
    ],
)
def test_bad_requests(client: Client, endpoint: str, docs: DocList[PageDoc], message: str) -> None:
    name, text = refusal(client, endpoint, docs)
    assert name == "InvalidInputError"
    assert text.startswith(message)


@pytest.mark.parametrize(
    "parameters", [{"pool_factor": 0}, {"on_error": "x"}, {"embedding_dtype": "int3"}]
)
def test_bad_parameters(client: Client, parameters: dict[str, object]) -> None:
    name, text = refusal(client, EMBED_QUERIES, queries("a"), **parameters)
    assert name == "InvalidInputError"
    assert text.startswith(f"parameter '{next(iter(parameters))}' is ")


def test_keep_covers_embeddings_that_callers_send(client: Client) -> None:
    docs = DocList[ScoreDoc]([embedded(page=np.ones((2, 5), np.float32))])
    result = post(client, SCORE_EMBEDDINGS, docs, on_error="keep")[0]
    assert np.isfinite(result.scores[0, 0])
    assert np.isnan(result.scores[0, 1])
    assert result.pages[1].error.startswith("EmbeddingShapeError: page 'a'")


def test_what_a_caller_left_on_a_document_does_not_stay(
    client: Client, images: list[Image.Image]
) -> None:
    stale = {"embedding": ROWS, "grid": [9, 9], "box": [0, 0, 1, 1], "error": "mine"}
    docs = DocList[PageDoc](
        [PageDoc(id="good", image=WHITE, **stale), PageDoc(id="bad", image=b"x", **stale)]
    )
    good, bad = post(client, EMBED_IMAGES, docs, on_error="keep", pool_factor=2)
    assert (good.error, good.grid, good.box) == (None, None, None)
    assert good.embedding.shape[1] == 128
    assert (bad.embedding, bad.grid, bad.box) == (None, None, None)
    assert bad.error.startswith("InvalidPageError")
    preset = ScoreDoc(queries=queries("red"), pages=DocList[PageDoc](pages(images[:1])))
    preset.pages[0].error = "mine"
    assert np.isfinite(score(client, SCORE, preset).scores).all()


def test_a_bad_score_request_costs_no_embedding(client: Client) -> None:
    docs = DocList[ScoreDoc]([ScoreDoc(queries=queries("a"), pages=page(b"not an image"))])
    name, text = refusal(client, SCORE, docs, top_k=0)
    assert (name, text[:25]) == ("InvalidInputError", "parameter 'top_k' is 0.0:")


def test_long_ids_and_values_are_shown_short(client: Client) -> None:
    long = DocList[PageDoc]([PageDoc(id="x" * 100_000 + chr(10), image=b"x")])
    assert len(refusal(client, EMBED_IMAGES, long)[1]) < 300
    assert len(refusal(client, EMBED_QUERIES, queries("a"), on_error="y" * 100_000)[1]) < 300


def test_kept_failures_score_nan_and_rank_last(client: Client, images: list[Image.Image]) -> None:
    docs = ScoreDoc(
        queries=queries("red", ""),
        pages=DocList[PageDoc]([PageDoc(id="bad", image=b"x"), *pages(images[:2])]),
    )
    result = score(client, SCORE, docs, on_error="keep")
    assert np.isnan(result.scores[:, 0]).all()
    assert np.isnan(result.scores[1]).all()
    assert np.isfinite(result.scores[0, 1:]).all()
    assert result.ranking[0, -1] == 0
    assert result.pages[0].error.startswith("InvalidPageError: page 'bad'")
    assert result.queries[1].error.startswith("InvalidQueryError: query 'query-1'")


def test_bad_requests_do_not_disturb_good_ones(
    rank_port: int, images: list[Image.Image], client: Client
) -> None:
    """Good and bad callers at the same time: every good one gets its lone answer."""
    expected = post(client, EMBED_IMAGES, pages(images))

    async def good() -> DocList[PageDoc]:
        caller = Client(port=rank_port, asyncio=True)
        stream = caller.post(EMBED_IMAGES, pages(images), return_type=DocList[PageDoc])
        return [found async for batch in stream for found in batch]

    async def bad(image: bytes) -> None:
        caller = Client(port=rank_port, asyncio=True)
        with pytest.raises(BadServer):
            async for _ in caller.post(EMBED_IMAGES, page(image), return_type=DocList[PageDoc]):
                pass

    async def everyone() -> list[object]:
        broken = [b"x", WHITE[:-30], png_header(9000, 9000), b""]
        calls: list[Callable[[], object]] = []
        for image in broken:
            calls += [good, lambda image=image: bad(image)]
        return await asyncio.gather(*(call() for call in calls))

    answers = [answer for answer in asyncio.run(everyone()) if answer is not None]
    assert len(answers) == 4
    for answer in answers:
        for found, wanted in zip(answer, expected, strict=True):
            np.testing.assert_allclose(
                found.embedding.astype(np.float32), wanted.embedding.astype(np.float32), atol=1e-3
            )
