"""MaxSim against a float64 double loop, for every shape that a ragged request can have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from colpali_serve.engine.maxsim import maxsim, rank

DTYPES = (np.float16, np.float32, np.float64)


def double_loop(
    queries: list[NDArray[np.floating]], pages: list[NDArray[np.floating]]
) -> NDArray[np.float64]:
    return np.array(
        [
            [
                sum(max(float(np.dot(q, p)) for p in page) for q in query)
                for page in (page.astype(np.float64) for page in pages)
            ]
            for query in (query.astype(np.float64) for query in queries)
        ]
    )


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
    scores = maxsim(queries, pages, block_bytes=block_bytes)
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
    scores = maxsim(queries, pages, block_bytes=4096)
    np.testing.assert_allclose(scores, double_loop(queries, pages), rtol=1e-5)


def test_memory_is_bounded_whatever_the_number_of_pages() -> None:
    import tracemalloc

    rng = np.random.default_rng(0)
    page = rng.standard_normal((1000, 128)).astype(np.float16)
    queries = [rng.standard_normal((32, 128)).astype(np.float32)] * 8
    peaks = []
    for count in (64, 256):
        tracemalloc.start()
        maxsim(queries, [page] * count, block_bytes=1 << 20)
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
