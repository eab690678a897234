"""What each form of an embedding costs and loses, on pages that are at hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.maxsim.ranking import rank
from colpali_serve.engine.maxsim.scorer import Scorer
from colpali_serve.engine.maxsim.store import PageStore
from colpali_serve.schemas import (
    Embedding,
    EmbeddingDtype,
    EmbeddingShapeError,
    InvalidInputError,
    compress,
)

Pool = Callable[[Embedding, int], Embedding]

_DTYPES: tuple[EmbeddingDtype, ...] = ("float32", "float16", "int8", "binary")
_TOP = 5
_QUERY_VECTORS = 20
_BLUR = 0.5
"""Length of the noise on a vector of length 1 that a page lends to a made-up query."""
_NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class FormProfile:
    """One form.

    Attributes:
        embedding_dtype: Of the pages.
        pool_factor: How many times fewer vectors they have.
        page_bytes: Mean size of a page.
        query_ms: Median time in which one query is scored against all pages, in milliseconds.
        ndcg: nDCG@5 against the exact ranking, whose first five pages gain 5, 4, 3, 2 and 1.
        recall: Share of the exact ranking's first five pages among the form's first five.
    """

    embedding_dtype: EmbeddingDtype
    pool_factor: int
    page_bytes: float
    query_ms: float
    ndcg: float
    recall: float


def profile(
    queries: Sequence[NDArray[np.float32]],
    pages: Sequence[NDArray[np.float32]],
    pool_factors: Sequence[int] = (1, 2, 3),
    pool: Pool | None = None,
    scorer: Scorer | None = None,
) -> list[FormProfile]:
    """Measure every form on some pages.

    Args:
        queries: At least one, each (n_vectors, dim).
        pages: At least two, not pooled; the exact ranking is that of their float32 values.
        pool_factors: Which to try.
        pool: Merges vectors of a page; None takes `engine.pooling`, which needs torch.
        scorer: What scores them; None takes the service's default.

    Returns:
        The forms in the order of `pool_factors`, float32 first; a form that the pages' dim does
        not allow is left out.

    Raises:
        InvalidInputError: There is nothing to rank.
    """
    if not queries or len(pages) < 2:
        raise InvalidInputError(
            f"there are {len(queries)} queries and {len(pages)} pages, expected at least one and "
            "two: nothing is ranked otherwise"
        )
    exact = Scorer(precision="float32").score(queries, pages)
    scorer = scorer or Scorer()
    found = []
    for factor in pool_factors:
        fewer = list(pages) if factor == 1 else _pooled(pages, factor, pool)
        for dtype in _DTYPES:
            try:
                compressed = [compress(page, dtype) for page in fewer]
            except EmbeddingShapeError:
                continue
            store = PageStore(scorer, _NO_LIMIT)
            store.put([str(index) for index in range(len(pages))], compressed)
            ndcg, recall, query_ms = _judged(store, queries, exact)
            page_bytes = statistics.fmean(page.nbytes for page in compressed)
            found.append(FormProfile(dtype, factor, page_bytes, query_ms, ndcg, recall))
    return found


def recommend(
    profiles: Sequence[FormProfile], least_ndcg: float = 0.98, least_recall: float = 0.95
) -> FormProfile:
    """Return the smallest form that ranks almost as the exact one does.

    Args:
        profiles: At least one.
        least_ndcg: nDCG@5 that it must reach.
        least_recall: Recall@5 that it must reach.

    Returns:
        The smallest good enough, of equal ones the faster; the best where none is.
    """
    good = [each for each in profiles if each.ndcg >= least_ndcg and each.recall >= least_recall]
    if good:
        return min(good, key=lambda each: (each.page_bytes, each.query_ms))
    return max(profiles, key=lambda each: (each.ndcg, each.recall))


def made_up_queries(
    pages: Sequence[NDArray[np.float32]], count: int, seed: int = 0
) -> list[NDArray[np.float32]]:
    """Make queries of what pages hold, where there are none of a user's.

    Args:
        pages: Each (n_vectors, dim), unit rows.
        count: How many.
        seed: Of the random numbers.

    Returns:
        Each up to 20 neighbouring vectors of one page, blurred, unit rows.
    """
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        page = pages[number % len(pages)]
        start = int(rng.integers(0, max(1, len(page) - _QUERY_VECTORS)))
        rows = page[start : start + _QUERY_VECTORS].astype(np.float32)
        noise = rng.standard_normal(rows.shape, np.float32) / np.sqrt(rows.shape[1])
        rows = rows + np.float32(_BLUR) * noise
        length = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        found.append((rows / length).astype(np.float32))
    return found


def _pooled(
    pages: Sequence[NDArray[np.float32]], factor: int, pool: Pool | None
) -> list[Embedding]:
    if pool is None:
        from colpali_serve.engine import pooling

        pool = pooling.pool
    return [pool(page, factor) for page in pages]


def _judged(
    store: PageStore, queries: Sequence[NDArray[np.float32]], exact: NDArray[np.float32]
) -> tuple[float, float, float]:
    top = min(_TOP, exact.shape[1])
    gains = np.arange(top, 0, -1, dtype=np.float64)
    discounts = 1 / np.log2(np.arange(top) + 2)
    ndcg, recall, seconds = [], [], []
    store.score(queries[:1])  # prepares the pages
    for query, row in zip(queries, exact, strict=True):
        began = time.perf_counter()
        scores = store.score([query]).scores
        seconds.append(time.perf_counter() - began)
        right = rank(row[np.newaxis], top)[0]
        gain_of = dict(zip(right.tolist(), gains.tolist(), strict=True))
        got = [gain_of.get(page, 0.0) for page in rank(scores, top)[0].tolist()]
        ndcg.append(float(np.dot(got, discounts) / np.dot(gains, discounts)))
        recall.append(sum(gain > 0 for gain in got) / top)
    return statistics.fmean(ndcg), statistics.fmean(recall), 1000 * statistics.median(seconds)
