"""Pages that stay in the ranker's memory, and compressed ones, through flows/rank.yml."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from docarray import DocList
from jina import Client
from PIL import Image

from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    PAGES_DROP,
    PAGES_LIST,
    PAGES_PUT,
    SCORE,
    SCORE_EMBEDDINGS,
    Compressed,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    StoreDoc,
    compress,
)
from tests.engine.maxsim.exact import double_loop
from tests.executors.posting import pages, post, queries, refusal, score

RNG = np.random.default_rng(0)
QUERY_ROWS = [RNG.standard_normal((n, 128)).astype(np.float32) for n in (3, 20)]
PAGE_ROWS = {f"r{i}": RNG.standard_normal((n, 128)).astype(np.float32) for i, n in
             enumerate([1, 50, 7, 33])}  # fmt: skip
EXACT = double_loop(QUERY_ROWS, list(PAGE_ROWS.values()))


def asked(**fields: object) -> ScoreDoc:
    return ScoreDoc(
        queries=DocList[QueryDoc](QueryDoc(embedding=rows) for rows in QUERY_ROWS), **fields
    )


def documents(dtype: str = "float32", names: tuple[str, ...] = tuple(PAGE_ROWS)) -> DocList:
    def document(name: str) -> PageDoc:
        page = compress(PAGE_ROWS[name], dtype)
        if isinstance(page, Compressed):
            return PageDoc(id=name, embedding=page.values, scale=page.scale)
        return PageDoc(id=name, embedding=page)

    return DocList[PageDoc](map(document, names))


def named(*names: str) -> DocList[PageDoc]:
    return DocList[PageDoc](PageDoc(id=name) for name in names)


def listed(client: Client) -> StoreDoc:
    return post(client, PAGES_LIST, DocList[StoreDoc]([StoreDoc()]))[0]


@pytest.fixture
def resident(client: Client) -> Iterator[Client]:
    """A service that keeps the four pages, and afterwards none."""
    answer = post(client, PAGES_PUT, documents())
    assert [page.id for page in answer] == list(PAGE_ROWS)
    assert all(page.embedding is None and page.error is None for page in answer)
    yield client
    if ids := listed(client).ids:
        post(client, PAGES_DROP, named(*ids))


def test_resident_pages_score_without_crossing_the_wire(resident: Client) -> None:
    everything = score(resident, SCORE_EMBEDDINGS, asked(resident=[]))
    assert everything.resident == list(PAGE_ROWS)
    np.testing.assert_allclose(everything.scores, EXACT, rtol=1e-5)
    np.testing.assert_array_equal(everything.ranking, np.argsort(-EXACT, axis=1))
    some = score(resident, SCORE_EMBEDDINGS, asked(resident=["r3", "r1"]))
    assert some.resident == ["r3", "r1"]
    np.testing.assert_allclose(some.scores, EXACT[:, [3, 1]], rtol=1e-5)


def test_only_ranked_pages_come_back_with_top_k(resident: Client) -> None:
    found = score(resident, SCORE_EMBEDDINGS, asked(resident=[]), top_k=1)
    best = EXACT.argmax(axis=1)
    assert [found.resident[index] for index in found.ranking[:, 0]] == [f"r{i}" for i in best]
    assert found.scores.shape == (2, len(set(best)))
    assert (found.ranking.dtype, found.ranking.shape) == (np.int64, (2, 1))


def test_texts_and_images_against_resident_pages(client: Client, images: list[Image.Image]) -> None:
    """Images are embedded on the way into memory, texts on the way to the scores."""
    post(client, PAGES_PUT, pages(images), embedding_dtype="float32")
    try:
        embedded = ScoreDoc(
            queries=post(client, EMBED_QUERIES, queries("red", "fox"), embedding_dtype="float32"),
            pages=post(client, EMBED_IMAGES, pages(images), embedding_dtype="float32"),
        )
        expected = score(client, SCORE_EMBEDDINGS, embedded).scores
        found = score(client, SCORE, ScoreDoc(queries=queries("red", "fox"), resident=[]))
        assert found.resident == ["page-0", "page-1", "page-2"]
        np.testing.assert_allclose(found.scores, expected, rtol=1e-2)
    finally:
        post(client, PAGES_DROP, named("page-0", "page-1", "page-2"))
    assert listed(client).ids == []


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "binary"])
def test_every_form_is_listed_with_the_memory_it_takes(resident: Client, dtype: str) -> None:
    post(resident, PAGES_PUT, documents(), embedding_dtype=dtype)  # replaces them
    found = listed(resident)
    assert found.ids == list(PAGE_ROWS)
    values = sum(compress(rows, dtype).nbytes for rows in PAGE_ROWS.values())
    assert values / 2**20 < found.size_mb < values / 2**20 + 0.01
    assert found.max_mb == 1024
    scores = score(resident, SCORE_EMBEDDINGS, asked(resident=[])).scores
    expected = double_loop(QUERY_ROWS, [compress(rows, dtype) for rows in PAGE_ROWS.values()])
    np.testing.assert_allclose(scores, expected, rtol=2e-2)


@pytest.mark.parametrize("dtype", ["int8", "binary"])
def test_compressed_pages_in_a_request(client: Client, dtype: str) -> None:
    found = score(client, SCORE_EMBEDDINGS, asked(pages=documents(dtype)), return_embeddings=True)
    expected = double_loop(QUERY_ROWS, [compress(rows, dtype) for rows in PAGE_ROWS.values()])
    np.testing.assert_allclose(found.scores, expected, rtol=2e-2)
    assert found.pages[1].scale == pytest.approx(compress(PAGE_ROWS["r1"], dtype).scale)
    gone = score(client, SCORE_EMBEDDINGS, asked(pages=documents(dtype)))
    assert all(page.embedding is None and page.scale is None for page in gone.pages)


@pytest.mark.parametrize("pool_factor", [1, 3])
def test_the_encoder_compresses(
    client: Client, images: list[Image.Image], pool_factor: int
) -> None:
    whole, small, signs = (
        post(client, EMBED_IMAGES, pages(images), embedding_dtype=dtype, pool_factor=pool_factor)
        for dtype in ("float32", "int8", "binary")
    )
    for exact, page, binary in zip(whole, small, signs, strict=True):
        assert (exact.scale, page.embedding.dtype) == (None, np.int8)
        assert page.grid == exact.grid
        values = page.embedding.astype(np.float32) * page.scale
        np.testing.assert_allclose(values, exact.embedding, atol=0.6 * page.scale)
        assert binary.embedding.dtype == np.uint8
        clear = np.abs(exact.embedding) > 1e-4  # a sign of next to nothing may go either way
        found = np.unpackbits(binary.embedding, axis=1)
        np.testing.assert_array_equal(found[clear], (exact.embedding > 0)[clear])
        assert binary.scale == pytest.approx(128**-0.5)
    query = post(client, EMBED_QUERIES, queries("red"), embedding_dtype="binary")[0]
    assert query.embedding.dtype == np.float16


def page(**fields: object) -> DocList[PageDoc]:
    return DocList[PageDoc]([PageDoc(id="a", **fields)])


@pytest.mark.parametrize(
    ("endpoint", "docs", "error", "message"),
    [
        (PAGES_PUT, page(embedding=np.ones((2, 3), np.float32)), "EmbeddingShapeError",
         "page 'a': embedding has 3 dimensions, expected 128 like the other resident pages"),
        (PAGES_PUT, page(embedding=np.ones((2, 128), np.int8)), "EmbeddingShapeError",
         "page 'a': has an embedding of int8 and no scale, expected a number above 0"),
        (PAGES_PUT, page(embedding=np.ones((2, 128), np.int8), scale=-1.0), "EmbeddingShapeError",
         "page 'a': has an embedding of int8 and a scale of -1.0"),
        (PAGES_PUT, page(embedding=np.ones((2, 128), np.float32), scale=1.0), "EmbeddingShapeError",
         "page 'a': has a scale and an embedding of float32"),
        (PAGES_PUT, page(embedding=np.full((1, 128), np.nan)), "EmbeddingShapeError",
         "page 'a': embedding has 128 values that are NaN"),
        (PAGES_PUT, named("a", "a"), "InvalidPageError", "page 'a': has no image"),
        (PAGES_PUT, documents(names=("r0", "r0")), "InvalidInputError", "page 'r0': came twice"),
        (PAGES_PUT, named(), "InvalidInputError", "request has 0 pages"),
        (PAGES_DROP, named("r0", "nope"), "InvalidInputError", "page 'nope': is not resident"),
        (PAGES_DROP, named(), "InvalidInputError", "request has 0 pages"),
        (SCORE_EMBEDDINGS, DocList[ScoreDoc]([asked(resident=["nope"])]), "InvalidInputError",
         "page 'nope': is not resident, expected one of the 4 pages that are"),
        (SCORE_EMBEDDINGS, DocList[ScoreDoc]([asked(resident=["r0", "r0"])]), "InvalidInputError",
         "page 'r0': came twice"),
        (SCORE, DocList[ScoreDoc]([asked(resident=[], pages=named("a"))]), "InvalidInputError",
         "score document has 1 pages and ids of resident ones, expected one or the other"),
    ],
)  # fmt: skip
def test_refusals_change_nothing(
    resident: Client, endpoint: str, docs: DocList, error: str, message: str
) -> None:
    before = listed(resident)
    name, text = refusal(resident, endpoint, docs)
    assert (name, text[: len(message)]) == (error, message)
    after = listed(resident)
    assert (after.ids, after.size_mb) == (before.ids, before.size_mb)


def test_keep_stores_and_drops_the_good_ones(resident: Client) -> None:
    docs = DocList[PageDoc](
        [*documents(names=("r0",)), *page(embedding=np.ones((1, 3), np.float32))]
    )
    docs[0].id = "new"
    good, bad = post(resident, PAGES_PUT, docs, on_error="keep")
    assert good.error is None
    assert bad.error.startswith("EmbeddingShapeError: page 'a': embedding has 3 dimensions")
    assert listed(resident).ids == [*PAGE_ROWS, "new"]
    (bad,) = post(resident, PAGES_PUT, page(embedding=np.ones((1, 3))), on_error="keep")
    assert bad.error.startswith("EmbeddingShapeError: page 'a': embedding has 3 dimensions")
    good, bad = post(resident, PAGES_DROP, named("new", "nope"), on_error="keep")
    assert good.error is None
    assert bad.error.startswith("InvalidInputError: page 'nope': is not resident")
    assert listed(resident).ids == list(PAGE_ROWS)


def test_failed_queries_score_nan(resident: Client) -> None:
    doc = asked(resident=["r0", "r1"])
    doc.queries[0].embedding = None
    found = score(resident, SCORE_EMBEDDINGS, doc, on_error="keep")
    assert np.isnan(found.scores[0]).all()
    np.testing.assert_allclose(found.scores[1], EXACT[1, :2], rtol=1e-5)
    doc = asked(resident=[])
    for query in doc.queries:
        query.embedding = None
    found = score(resident, SCORE_EMBEDDINGS, doc, on_error="keep", top_k=1)
    assert found.resident == ["r0"]
    assert np.isnan(found.scores).all()
