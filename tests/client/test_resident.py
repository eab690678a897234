"""Pages in the service's memory, by the client of flows/rank.yml."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colpali_serve.client import AsyncColPaliClient, ColPaliClient, PageEmbedding, QueryEmbedding
from colpali_serve.client import resident as module
from colpali_serve.client.resident import stacked
from colpali_serve.client.scoring import Block
from colpali_serve.schemas import (
    EmbeddingShapeError,
    InvalidInputError,
    InvalidPageError,
    InvalidQueryError,
    RemoteError,
    compress,
)
from tests.conftest import ROOT
from tests.engine.maxsim.exact import double_loop
from tests.service import running_flow

RNG = np.random.default_rng(0)
QUERIES = [RNG.standard_normal((n, 128)).astype(np.float32) for n in (3, 20, 1)]
PAGES = [RNG.standard_normal((n, 128)).astype(np.float32) for n in (1, 50, 7, 33)]
NAMES = ["page-0001", "page-0002", "page-0003", "page-0004"]
EXACT = double_loop(QUERIES, PAGES)


@pytest.fixture(scope="module")
def rank_port(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    log = tmp_path_factory.mktemp("flow") / "log"
    env = {
        "COLPALI_MODEL": str(checkpoint("colqwen2")),
        "COLPALI_DEVICE": "cpu",
        "COLPALI_DTYPE": "float32",
    }
    with running_flow(ROOT / "flows" / "rank.yml", log, env=env) as port:
        yield port


@pytest.fixture
def ranker(rank_port: int) -> Iterator[ColPaliClient]:
    """A client whose service keeps nothing before and after."""
    client = ColPaliClient("localhost", rank_port, retries=0)
    yield client
    client.drop_pages()
    assert client.list_pages().ids == []


def test_embeddings_are_kept_and_scored(ranker: ColPaliClient) -> None:
    assert [(page.id, page.error) for page in ranker.put_pages(PAGES)] == [(n, None) for n in NAMES]
    found = ranker.score_resident(QUERIES)
    assert (found.ids, found.scores.dtype) == (NAMES, np.float32)
    np.testing.assert_allclose(found.scores, EXACT, rtol=1e-5)
    some = ranker.score_resident(QUERIES[1], [NAMES[3], NAMES[0]])
    np.testing.assert_allclose(some.scores, EXACT[1:2, [3, 0]], rtol=1e-5)
    assert ranker.score_resident(QUERIES, []).scores.shape == (3, 0)
    whole = ranker.rank_resident(QUERIES)
    best = ranker.rank_resident(QUERIES, top_k=2)
    for ranking, top, exact in zip(whole, best, EXACT, strict=True):
        assert [page.id for page in ranking] == [NAMES[i] for i in np.argsort(-exact)]
        assert top == ranking[:2]
    listed = ranker.list_pages()
    assert 0 < listed.size_mb < 0.1 < listed.max_mb
    assert ranker.drop_pages(NAMES[:1]) == NAMES[:1]
    assert ranker.list_pages().ids == NAMES[1:]


def test_queries_in_several_messages(
    ranker: ColPaliClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker.put_pages(PAGES)
    monkeypatch.setattr("colpali_serve.client.to_score._MAX_GROUP_ITEMS", 1)
    monkeypatch.setattr(module, "_BATCH_IDS", 3)
    failed = QueryEmbedding("bad", "bad", None, error="E: x")
    queries = [failed, *(QueryEmbedding(str(i), None, q) for i, q in enumerate(QUERIES))]
    scores = ranker.score_resident(queries).scores
    assert np.isnan(scores[0]).all()
    np.testing.assert_allclose(scores[1:], EXACT, rtol=1e-5)
    rankings = ranker.rank_resident(queries, top_k=1)
    assert [len(ranking) for ranking in rankings] == [0, 1, 1, 1]
    assert ranker.rank_resident([failed]) == [[]]


def test_images_are_embedded_on_the_way(ranker: ColPaliClient, images: list[Image.Image]) -> None:
    kept = ranker.put_pages([*images, b"broken"], embedding_dtype="float32", on_error="keep")
    assert [page.error is None for page in kept] == [True, True, True, False]
    assert kept[3].error is not None
    assert kept[3].error.startswith("InvalidPageError: page 'page-0004'")
    expected = ranker.score("red", ranker.embed_pages(images, embedding_dtype="float32"))
    found = ranker.score_resident("red")
    assert found.ids == NAMES[:3]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4)
    with pytest.raises(InvalidPageError):
        ranker.put_pages(b"broken")


def test_compressed_embeddings_come_back_and_go_again(
    ranker: ColPaliClient, images: list[Image.Image]
) -> None:
    exact = ranker.score("red", ranker.embed_pages(images, embedding_dtype="float32"))
    for dtype, error in (("int8", 0.02), ("binary", 0.5)):
        pages = ranker.embed_pages(images, embedding_dtype=dtype)
        assert pages[0].embedding is not None
        assert pages[0].embedding.dtype == (np.int8 if dtype == "int8" else np.uint8)
        assert pages[0].scale is not None
        scores = ranker.score("red", pages)
        np.testing.assert_allclose(scores, exact, atol=error * np.abs(exact).max())
        ranker.put_pages(pages)
        np.testing.assert_allclose(ranker.score_resident("red").scores, scores, rtol=1e-5)
    page = compress(PAGES[1], "int8")
    np.testing.assert_allclose(ranker.score(QUERIES, [page]), EXACT[:, 1:2], rtol=2e-2)


def test_what_is_refused(ranker: ColPaliClient) -> None:
    ranker.put_pages(PAGES)
    with pytest.raises(InvalidInputError, match="page 'nope': is not resident"):
        ranker.score_resident(QUERIES, ["nope"])
    with pytest.raises(InvalidInputError, match="page 'nope': is not resident"):
        ranker.drop_pages(["nope"])
    with pytest.raises(EmbeddingShapeError, match="expected 128 like the other resident pages"):
        ranker.put_pages(np.ones((2, 8)))
    with pytest.raises(EmbeddingShapeError, match="queries have 8 dimensions, expected 128"):
        ranker.score_resident(np.ones((2, 8)))
    with pytest.raises(InvalidInputError, match="pool_factor is 3 for embeddings"):
        ranker.put_pages(PAGES, pool_factor=3)
    with pytest.raises(InvalidInputError, match="page 'twice': came twice"):
        ranker.put_pages([PageEmbedding("twice", PAGES[0])] * 2)
    with pytest.raises(InvalidQueryError, match="no queries"):
        ranker.score_resident([])
    with pytest.raises(InvalidInputError, match="top_k is 0"):
        ranker.rank_resident(QUERIES, top_k=0)
    kept = ranker.put_pages([PageEmbedding("bad", None, error="E: x")], on_error="keep")
    assert kept[0].error == "E: x"
    assert ranker.list_pages().ids == NAMES


def test_the_same_without_blocking(ranker: ColPaliClient, rank_port: int) -> None:
    async def everything() -> None:
        client = AsyncColPaliClient("localhost", rank_port)
        assert [page.id for page in await client.put_pages(PAGES)] == NAMES
        np.testing.assert_allclose((await client.score_resident(QUERIES)).scores, EXACT, rtol=1e-5)
        rankings = await client.rank_resident(QUERIES, top_k=1)
        assert [ranking[0].id for ranking in rankings] == [NAMES[i] for i in EXACT.argmax(axis=1)]
        assert (await client.list_pages()).ids == NAMES
        assert await client.drop_pages() == NAMES

    asyncio.run(everything())


def test_pages_that_changed_between_two_messages() -> None:
    first, second = (Block([name], np.ones((1, 1), np.float32)) for name in "ab")
    with pytest.raises(RemoteError, match="the resident pages changed"):
        stacked([first, second])
