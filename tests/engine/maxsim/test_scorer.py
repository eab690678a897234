"""MaxSim against a float64 double loop, for every shape that a ragged request can have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from colpali_serve.engine.maxsim import Scorer, maxsim, rank
from colpali_serve.schemas import Compressed, EmbeddingShapeError, InvalidInputError, compress
from tests.engine.maxsim.exact import double_loop

DTYPES = (np.float16, np.float32, np.float64)


@st.composite
def ragged(draw: st.DrawFn) -> tuple[list[NDArray[np.floating]], list[NDArray[np.floating]]]:
    dim = draw(st.integers(1, 9))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    scale = draw(st.sampled_from([1e-3, 1.0, 50.0]))
    shift = draw(st.sampled_from([0.0, -2.0]))  # mostly negative products on one side

    def side(offset: float) -> list[NDArray[np.floating]]:
        lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=6))
        dtype = draw(st.sampled_from(DTYPES))
        return [(rng.standard_normal((n, dim)) * scale + offset).astype(dtype) for n in lengths]

    return side(0.0), side(shift)


@settings(deadline=None)
@given(ragged(), st.integers(4, 400))
def test_equals_a_double_loop_whatever_the_block(
    sides: tuple[list[NDArray[np.floating]], list[NDArray[np.floating]]], block_bytes: int
) -> None:
    queries, pages = sides
    expected = double_loop(queries, pages)
    scores = maxsim(queries, pages, backend="numpy", block_bytes=block_bytes)
    assert scores.dtype == np.float32
    assert scores.shape == (len(queries), len(pages))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5 * max(1, abs(expected).max()))


def test_a_page_of_negative_products_keeps_its_score_beside_longer_ones() -> None:
    query = np.array([[1.0, 0.0]], np.float32)
    opposite = np.array([[-1.0, 0.0]], np.float32)
    longer = np.array([[-0.5, 0.5], [-0.25, 0.1], [-0.75, 0.0]], np.float32)
    assert maxsim([query], [opposite])[0, 0] == -1
    np.testing.assert_array_equal(maxsim([query], [opposite, longer]), [[-1, -0.25]])


def test_one_page_larger_than_a_block() -> None:
    rng = np.random.default_rng(0)
    queries = [rng.standard_normal((33, 16)).astype(np.float32)]
    pages = [rng.standard_normal((n, 16)).astype(np.float32) for n in (5000, 3)]
    scores = maxsim(queries, pages, backend="numpy", block_bytes=4096)
    np.testing.assert_allclose(scores, double_loop(queries, pages), rtol=1e-5)


@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_memory_is_bounded_whatever_the_number_of_pages(backend: str) -> None:
    import tracemalloc

    rng = np.random.default_rng(0)
    page = rng.standard_normal((1000, 128)).astype(np.float16)
    queries = [rng.standard_normal((32, 128)).astype(np.float32)] * 8
    peaks = []
    for count in (64, 256):
        tracemalloc.start()
        maxsim(queries, [page] * count, backend=backend, block_bytes=1 << 20)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 64 * 2**20


@pytest.mark.parametrize(
    ("top_k", "expected"), [(None, [1, 2, 0, 3]), (2, [1, 2]), (9, [1, 2, 0, 3])]
)
def test_rank(top_k: int | None, expected: list[int]) -> None:
    scores = np.array([[0.5, 2.0, 2.0, np.nan]], np.float32)
    ranking = rank(scores, top_k)
    assert ranking.dtype == np.int64
    assert ranking.tolist() == [expected]


def test_nothing_to_score() -> None:
    assert maxsim([], [np.ones((1, 2))]).shape == (0, 1)
    assert maxsim([np.ones((1, 2))], []).shape == (1, 0)


ONES = np.ones((2, 8), np.float32)


@pytest.mark.parametrize(
    ("queries", "pages", "message"),
    [
        ([ONES], [ONES, np.ones((2, 9))], "page 1: embedding has 9 dimensions, expected 8"),
        ([ONES, np.ones((2, 9))], [ONES], "query 1: embedding has 9 dimensions, expected 8"),
        ([ONES], [np.ones((0, 8))], r"page 0: embedding has shape \(0, 8\)"),
        ([np.ones((0, 8))], [ONES], r"query 0: embedding has shape \(0, 8\)"),
        ([ONES], [ONES, ONES * np.nan], "page 1: embedding has 16 values that are NaN"),
        ([ONES * np.inf], [ONES], "query 0: embedding has 16 values that are NaN"),
        ([ONES], [np.full((1, 8), np.inf, np.float16)], "page 0: embedding has 8 values"),
        ([ONES], [ONES * 1e16], "page 0: embedding has a value of 1e"),
        ([ONES], [ONES.astype(np.int8)], "page 0: embedding has dtype int8"),
        ([ONES], [Compressed(np.ones((2, 8), np.int8), 0.0)], "page 0: .* a scale of 0.0"),
        ([ONES], [compress(np.ones((2, 16)), "binary")], "page 0: embedding has 16 dimensions"),
    ],
)
def test_refusals_have_the_index(queries: list, pages: list, message: str) -> None:
    with pytest.raises(EmbeddingShapeError, match=message):
        maxsim(queries, pages)


def test_the_best_pages_of_an_endless_stream_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from colpali_serve.engine.maxsim import scorer

    monkeypatch.setattr(scorer, "_PAGES_AT_A_TIME", 7)
    rng = np.random.default_rng(0)
    queries = [rng.standard_normal((3, 8)) for _ in range(2)]
    pages = [rng.standard_normal((n, 8)) for n in rng.integers(1, 6, 40)]
    pages[20] = pages[3]  # equal scores keep their order
    scores = maxsim(queries, pages)
    made = Scorer(precision="float32")
    for top_k in (1, 5, 100):
        best = made.best(queries, iter(pages), top_k)
        np.testing.assert_array_equal(best.pages, rank(scores, top_k))
        np.testing.assert_array_equal(
            best.scores, np.take_along_axis(scores, rank(scores, top_k), axis=1)
        )
    assert made.best(queries, [], 3).pages.shape == (2, 0)
    with pytest.raises(InvalidInputError, match="top_k is 0, expected at least 1"):
        made.best(queries, pages, 0)
    with pytest.raises(EmbeddingShapeError, match="page 8: embedding has 9 dimensions"):
        made.best(queries, [*pages[:8], np.ones((1, 9))], 3)
