"""flows/rank.yml over gRPC, with nothing but `jina.Client` and the document classes."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from docarray import DocList
from jina import Client
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
from tests.conftest import ROOT
from tests.engine.maxsim.exact import double_loop
from tests.engine.reference import Reference, reference
from tests.executors.posting import pages, png, post, queries, score
from tests.service import running_flow

TEXTS = ("red", "what is the total revenue of 2023?", "the quick brown fox")
FLOAT16 = 1e-3  # a value below 1 moves by less when it is rounded


@pytest.fixture(scope="module")
def direct(checkpoint: Callable[[str], Path]) -> Reference:
    return reference("colqwen2", checkpoint("colqwen2"), torch.float32)


def test_pages_of_mixed_sizes(client: Client, direct: Reference, images: list[Image.Image]) -> None:
    many = [images[i % 3] for i in range(7)]
    results = post(client, EMBED_IMAGES, pages(many))
    assert [page.id for page in results] == [f"page-{i}" for i in range(7)]
    for index, (page, image) in enumerate(zip(results, many, strict=True)):
        expected = direct.page(image)
        assert page.embedding.dtype == np.float16
        assert page.embedding.shape == expected.shape
        np.testing.assert_allclose(page.embedding, expected, atol=FLOAT16)
        columns, rows = page.grid
        assert columns * rows < len(page.embedding) <= columns * rows + 20
        assert page.box is None
        assert (page.image, page.url, page.error) == (None, None, None)
        assert page.tags == {"n": index}


def test_data_uris(client: Client, direct: Reference, images: list[Image.Image]) -> None:
    uri = "data:image/png;base64," + base64.b64encode(png(images[0])).decode()
    page = post(client, EMBED_IMAGES, DocList[PageDoc]([PageDoc(url=uri)]))[0]
    np.testing.assert_allclose(page.embedding, direct.page(images[0]), atol=FLOAT16)
    assert page.url is None


def test_queries_are_the_same_alone_and_together(client: Client, direct: Reference) -> None:
    together = post(client, EMBED_QUERIES, queries(*TEXTS), embedding_dtype="float32")
    for query, text in zip(together, TEXTS, strict=True):
        alone = post(client, EMBED_QUERIES, queries(text), embedding_dtype="float32")[0]
        np.testing.assert_allclose(query.embedding, alone.embedding, atol=1e-5)
        np.testing.assert_allclose(query.embedding, direct.query(text), atol=1e-5)
        assert query.text == text


def test_an_image_as_query(client: Client, direct: Reference, images: list[Image.Image]) -> None:
    mixed = DocList[QueryDoc](
        [QueryDoc(text="red"), QueryDoc(image=png(images[1])), QueryDoc(text="fox")]
    )
    results = post(client, EMBED_QUERIES, mixed)
    np.testing.assert_allclose(results[1].embedding, direct.page(images[1]), atol=FLOAT16)
    np.testing.assert_allclose(results[2].embedding, direct.query("fox"), atol=FLOAT16)
    assert results[1].image is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_score_embeddings(client: Client, dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(0)
    query_rows = [rng.standard_normal((n, 16)).astype(np.float32) for n in (1, 5, 9)]
    page_rows = [rng.standard_normal((n, 16)).astype(dtype) - 2 for n in (1, 40, 7, 3)]
    doc = ScoreDoc(
        queries=DocList[QueryDoc](QueryDoc(embedding=rows) for rows in query_rows),
        pages=DocList[PageDoc](PageDoc(embedding=rows) for rows in page_rows),
    )
    result = score(client, SCORE_EMBEDDINGS, doc)
    expected = double_loop(query_rows, page_rows)
    assert result.scores.dtype == np.float32
    # float16 pages are multiplied in bfloat16.
    rtol = 1e-2 if dtype is np.float16 else 1e-5
    np.testing.assert_allclose(result.scores, expected, rtol=rtol, atol=1e-4)
    np.testing.assert_array_equal(result.ranking, np.argsort(-expected, axis=1))
    assert all(page.embedding is None for page in result.pages)
    top = score(client, SCORE_EMBEDDINGS, doc, top_k=2, return_embeddings=True)
    assert top.scores.shape == (3, 4)
    np.testing.assert_array_equal(top.ranking, result.ranking[:, :2])
    np.testing.assert_array_equal(top.pages[1].embedding, page_rows[1])


def test_score_is_embedding_and_scoring(client: Client, images: list[Image.Image]) -> None:
    embedded = ScoreDoc(
        queries=post(client, EMBED_QUERIES, queries(*TEXTS)),
        pages=post(client, EMBED_IMAGES, pages(images)),
    )
    in_steps = score(client, SCORE_EMBEDDINGS, embedded)
    at_once = score(client, SCORE, ScoreDoc(queries=queries(*TEXTS), pages=pages(images)))
    # Sums over a query's vectors, each of which may differ by 1e-5 with its batch.
    np.testing.assert_allclose(at_once.scores, in_steps.scores, atol=2e-4)
    assert at_once.queries[0].text == TEXTS[0]
    assert all(page.image is None and page.embedding is None for page in at_once.pages)
    # What has an embedding already is not computed again.
    half = ScoreDoc(queries=queries(*TEXTS), pages=embedded.pages)
    np.testing.assert_allclose(score(client, SCORE, half).scores, in_steps.scores, atol=2e-4)


def test_parameters(client: Client, images: list[Image.Image]) -> None:
    whole = post(client, EMBED_IMAGES, pages(images[:1]), embedding_dtype="float32")[0]
    pooled = post(client, EMBED_IMAGES, pages(images[:1]), pool_factor=3)[0]
    assert whole.embedding.dtype == np.float32
    assert len(pooled.embedding) == len(whole.embedding) // 3
    assert pooled.grid is None


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_starts_by_fork_and_by_spawn_with_the_bundled_checkpoint(
    start_method: str, tmp_path: Path, images: list[Image.Image]
) -> None:
    flow = ROOT / "flows" / "rank.yml"
    with running_flow(flow, tmp_path / "log", start_method=start_method) as port:
        client = Client(port=port)
        doc = ScoreDoc(queries=queries("red"), pages=pages(images[:1]))
        assert np.isfinite(score(client, SCORE, doc).scores).all()
        # It was trained on pages without margins, and the answer says what it looked at.
        sheet = Image.new("RGB", (600, 800), "white")
        sheet.paste("black", (150, 200, 480, 640))
        (page,) = post(client, EMBED_IMAGES, pages([sheet]))
        assert page.box == pytest.approx([150 / 600, 200 / 800, 480 / 600, 640 / 800], abs=0.02)
