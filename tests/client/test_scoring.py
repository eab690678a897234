"""Scores are exact, however the pages travel."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from colpali_serve.client import ColPaliClient, PageEmbedding, QueryEmbedding, to_score
from colpali_serve.schemas import (
    EmbeddingShapeError,
    InvalidInputError,
    InvalidPageError,
    InvalidQueryError,
    PageDoc,
)

Arrays = list[np.ndarray]


@pytest.fixture
def embeddings() -> tuple[Arrays, Arrays]:
    """Queries and pages of different lengths, with negative scores among them."""
    rng = np.random.default_rng(3)

    def make(count: int) -> Arrays:
        return [rng.normal(size=(n, 8)).astype(np.float32) for n in rng.integers(1, 9, count)]

    return make(5), [*make(22), -np.ones((1, 8), np.float32)]


def maxsim(queries: Arrays, pages: Arrays) -> np.ndarray:
    """The definition, pair by pair."""
    return np.array([[(q @ p.T).max(1).sum() for p in pages] for q in queries], np.float32)


def test_scores(client: ColPaliClient, embeddings: tuple[Arrays, Arrays]) -> None:
    scores = client.score(*embeddings)
    assert (scores.dtype, scores.shape) == (np.float32, (5, 23))
    np.testing.assert_allclose(scores, maxsim(*embeddings), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 300, 1000])
def test_scores_do_not_depend_on_the_size_of_messages(
    client: ColPaliClient,
    embeddings: tuple[Arrays, Arrays],
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = client.score(*embeddings)
    monkeypatch.setattr(to_score, "_MAX_GROUP_BYTES", size)
    monkeypatch.setattr(to_score, "_MAX_GROUP_ITEMS", 7)
    assert np.array_equal(client.score(*embeddings), whole)
    assert np.array_equal(client.score(embeddings[0], iter(embeddings[1])), whole)


def test_one_of_each(client: ColPaliClient, embeddings: tuple[Arrays, Arrays]) -> None:
    queries, pages = embeddings
    assert client.score(queries[0], pages[0]).shape == (1, 1)
    assert client.score(np.ones((2, 3, 8), np.float32), np.ones((4, 5, 8))).shape == (2, 4)
    assert client.score(queries, []).shape == (5, 0)


def test_raw_inputs_are_embedded_first(
    client: ColPaliClient, make_page: Callable[..., Image.Image]
) -> None:
    pages = [make_page(200), make_page(0, 200), make_page(0, 0, 200)]
    queries = ["rrrr", "gg", make_page(0, 0, 255)]
    scores = client.score(queries, pages)
    assert scores.argmax(1).tolist() == [0, 1, 2]
    embedded = client.score(client.embed_queries(queries), client.embed_pages(pages))
    assert np.array_equal(scores, embedded)
    assert np.array_equal(client.score(queries, (page for page in pages)), scores)


def test_ranking(client: ColPaliClient, make_page: Callable[..., Image.Image]) -> None:
    pages = [make_page(red) for red in (10, 200, 200, 90)]
    (ranking,) = client.rank("rr", pages)
    assert [page.id for page in ranking] == ["page-0002", "page-0003", "page-0004", "page-0001"]
    assert [page.rank for page in ranking] == [1, 2, 3, 4]
    assert [page.score for page in ranking] == sorted((p.score for p in ranking), reverse=True)
    assert [len(ranking) for ranking in client.rank(["r", "g"], pages, top_k=2)] == [2, 2]


def test_names_of_ranked_pages(client: ColPaliClient) -> None:
    pages = [PageEmbedding("x", np.ones((1, 2))), PageEmbedding("y", np.full((1, 2), 2.0))]
    (ranking,) = client.rank(np.ones((1, 2)), pages)
    assert [page.id for page in ranking] == ["y", "x"]
    (ranking,) = client.rank(np.ones((1, 2)), [page.embedding for page in pages])
    assert [page.id for page in ranking] == ["page-0002", "page-0001"]


def test_failed_pages_and_queries_score_nothing(client: ColPaliClient) -> None:
    good = np.ones((1, 2), np.float32)
    pages = [PageEmbedding("bad", None, error="E: x"), PageEmbedding("good", good)]
    queries = [QueryEmbedding("a", "a", good), QueryEmbedding("b", "b", None, error="E: x")]
    scores = client.score(queries, pages)
    assert np.isnan(scores).tolist() == [[True, False], [True, True]]
    assert scores[0, 1] == 2
    assert [page.id for page in client.rank(queries[0], pages)[0]] == ["good", "bad"]
    assert np.isnan(client.score(queries[0], pages[0])).all()


def test_bad_raw_pages(client: ColPaliClient, make_page: Callable[..., Image.Image]) -> None:
    file = io.BytesIO()
    make_page(5).save(file, "PNG")
    pages = [file.getvalue(), b"broken", PageDoc(id="refused", image=file.getvalue())]
    with pytest.raises(InvalidPageError, match="page 'page-0002'"):
        client.score("r", pages)
    assert np.isnan(client.score("r", pages, on_error="keep")).tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("queries", "pages", "kind", "message"),
    [
        ([], [np.ones((1, 2))], InvalidQueryError, "no queries, expected at least one"),
        (np.ones((1, 2)), np.ones((1, 3)), EmbeddingShapeError, "has 3 dimensions, expected 2"),
        (np.ones((1, 2)), [np.ones((0, 2))], EmbeddingShapeError, "page 'page-0001'.*at least one"),
        (np.ones((1, 2)), np.full((1, 2), np.nan), EmbeddingShapeError, "1|2 values that are NaN"),
        (np.ones(2), [np.ones((1, 2))], EmbeddingShapeError, r"query 'query-0001'.*shape \(2,\)"),
        (np.ones((1, 2)), [np.ones((1, 2)), "a.png"], InvalidInputError, "a str after embeddings"),
        ("r", ["a.png", np.ones((1, 2))], InvalidPageError, "page 'a.png'"),
    ],
)
def test_what_cannot_be_scored(
    client: ColPaliClient, queries: object, pages: object, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        client.score(queries, pages)  # type: ignore[arg-type]


def test_top_k_is_checked(client: ColPaliClient) -> None:
    with pytest.raises(InvalidInputError, match="top_k is 0, expected at least 1"):
        client.rank("r", [], top_k=0)
