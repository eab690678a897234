"""Profiles of forms: the exact one loses nothing, smaller ones are smaller, the rest is judged."""

from __future__ import annotations

import numpy as np
import pytest

from colpali_serve.engine.maxsim.profiling import (
    FormProfile,
    made_up_queries,
    profile,
    recommend,
)
from colpali_serve.schemas import Embedding, InvalidInputError

RNG = np.random.default_rng(0)


def unit(n: int, dim: int = 64) -> np.ndarray:
    rows = RNG.standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


PAGES = [unit(int(n)) for n in RNG.integers(20, 60, 30)]


def every_second(page: Embedding, factor: int) -> Embedding:
    return page[::factor]


def test_every_form_is_measured() -> None:
    queries = made_up_queries(PAGES, 20)
    found = profile(queries, PAGES, (1, 2), every_second)
    forms = [(each.embedding_dtype, each.pool_factor) for each in found]
    assert forms == [(d, f) for f in (1, 2) for d in ("float32", "float16", "int8", "binary")]
    by_form = dict(zip(forms, found, strict=True))
    mean = np.mean([len(page) for page in PAGES]) * 64
    for dtype, width in (("float32", 4), ("float16", 2), ("int8", 1), ("binary", 1 / 8)):
        assert by_form[dtype, 1].page_bytes == pytest.approx(mean * width)
        assert by_form[dtype, 2].page_bytes < 0.6 * mean * width
        assert by_form[dtype, 1].query_ms > 0
    assert (by_form["float32", 1].ndcg, by_form["float32", 1].recall) == (1, 1)
    assert by_form["int8", 1].ndcg > 0.95 > by_form["binary", 2].ndcg
    assert all(0 <= each.ndcg <= 1 and 0 <= each.recall <= 1 for each in found)


def test_torch_s_pooling_is_the_default() -> None:
    found = profile(made_up_queries(PAGES, 4), PAGES[:4], (3,))
    assert found[0].page_bytes < 0.4 * np.mean([page.nbytes for page in PAGES[:4]])


def test_made_up_queries_are_of_unit_length_and_find_their_pages() -> None:
    queries = made_up_queries(PAGES, 40)
    assert len(queries) == 40
    assert all(len(query) == 20 for query in queries)
    np.testing.assert_allclose(np.linalg.norm(queries[0], axis=1), 1, rtol=1e-5)
    assert made_up_queries([unit(1)], 1)[0].shape == (1, 64)


def made(size: float, ndcg: float, recall: float = 1.0, ms: float = 1.0) -> FormProfile:
    return FormProfile("int8", 1, size, ms, ndcg, recall)


def test_the_smallest_form_that_is_good_enough_is_recommended() -> None:
    exact, good, small = made(400, 1.0), made(100, 0.99), made(10, 0.9)
    assert recommend([exact, good, small]) is good
    assert recommend([exact, made(50, 0.99, recall=0.5)]) is exact
    quick = made(100, 0.99, ms=0.5)
    assert recommend([good, quick]) is quick
    assert recommend([small, made(5, 0.5)]) is small


def test_nothing_to_rank() -> None:
    with pytest.raises(InvalidInputError, match="there are 1 queries and 1 pages, expected"):
        profile([PAGES[0]], PAGES[:1])
    with pytest.raises(InvalidInputError, match="there are 0 queries"):
        profile([], PAGES)
