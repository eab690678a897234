"""Resident pages: scored as if they had come along, bounded, and safe to share."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from colpali_serve.engine.maxsim import PageStore, Scorer, rows_of
from colpali_serve.schemas import (
    ConfigError,
    EmbeddingShapeError,
    InvalidInputError,
    OverloadedError,
    compress,
)
from tests.engine.maxsim.interpreting import TRITON, TRITON_DEVICE

MEBIBYTE = 1024**2
RNG = np.random.default_rng(0)
QUERIES = [RNG.standard_normal((n, 64)).astype(np.float32) for n in (1, 20)]
PAGES = {f"p{i}": RNG.standard_normal((n, 64)).astype(np.float16) for i, n in enumerate([40, 1, 7])}


@pytest.fixture(params=["auto", TRITON, "torch", "numpy"])
def store(request: pytest.FixtureRequest) -> PageStore:
    return filled(scorer(request.param))


def scorer(backend: str, precision: str = "auto") -> Scorer:
    try:
        return Scorer(backend, precision, device=TRITON_DEVICE if backend == "triton" else "cpu")
    except ConfigError as error:
        pytest.skip(str(error))


def filled(scorer: Scorer, max_bytes: int = MEBIBYTE) -> PageStore:
    store = PageStore(scorer, max_bytes)
    store.put(list(PAGES), list(PAGES.values()))
    return store


def test_resident_pages_score_as_pages_that_come_along(store: PageStore) -> None:
    expected = store._scorer.score(QUERIES, list(PAGES.values()))
    for _ in range(2):  # the second time from what the first one prepared
        found = store.score(QUERIES)
        assert found.ids == list(PAGES)
        np.testing.assert_allclose(found.scores, expected, rtol=2e-2)
    some = store.score(QUERIES, ["p2", "p0"])
    assert some.ids == ["p2", "p0"]
    np.testing.assert_allclose(some.scores, expected[:, [2, 0]], rtol=2e-2)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "binary"])
@pytest.mark.parametrize("backend", ["auto", TRITON])
def test_every_form_stays_as_small_as_it_came(dtype: str, backend: str) -> None:
    store, page = PageStore(scorer(backend), MEBIBYTE), compress(PAGES["p0"], dtype)
    store.put(["a"], [page])
    assert page.nbytes < store.contents().size_bytes < page.nbytes + 1000
    expected = scorer(backend).score_rows(QUERIES, [rows_of(page)])
    np.testing.assert_array_equal(store.score(QUERIES).scores, expected)


def test_replacing_and_dropping(store: PageStore) -> None:
    assert len(store) == 3
    before = store.contents()
    assert (before.ids, before.n_vectors, before.max_bytes) == (list(PAGES), 48, MEBIBYTE)
    store.score(QUERIES)
    store.put(["p1"], [PAGES["p0"]])
    scores = store.score(QUERIES).scores
    np.testing.assert_array_equal(scores[:, 0], scores[:, 1])
    store.drop(["p1", "p2"])
    assert store.score(QUERIES).ids == ["p0"]
    store.drop(["p0"])
    assert store.contents().size_bytes == 0
    assert store.score(QUERIES).scores.shape == (2, 0)
    store.put(["a"], [np.ones((1, 8), np.float32)])  # an empty store takes any width


@pytest.mark.parametrize("backend", ["auto", TRITON, "torch", "numpy"])
def test_a_caller_may_reuse_its_array(backend: str) -> None:
    store = PageStore(scorer(backend, "float32"), MEBIBYTE)
    page = np.ones((2, 64), np.float32)
    store.put(["a"], [page])
    expected = store.score(QUERIES).scores
    page[:] = 9
    np.testing.assert_array_equal(store.score(QUERIES).scores, expected)


def test_memory_is_bounded_and_what_does_not_fit_leaves_no_trace() -> None:
    page = np.ones((1000, 128), np.float16)  # 0.25 MB
    store = PageStore(Scorer(), MEBIBYTE)
    store.put(list("abc"), [page] * 3)
    with pytest.raises(OverloadedError, match=r"2 pages would make 1.2 MiB .* at most 1.0 MiB"):
        store.put(["d", "e"], [page] * 2)
    assert store.contents().ids == list("abc")
    store.put(["a", "d"], [page] * 2)  # one of them takes another's place
    with pytest.raises(InvalidInputError, match=r"5 pages take 1.2 MiB, expected at most 1.0 MiB"):
        store.put(list("vwxyz"), [page] * 5)
    assert store.contents().ids == list("abcd")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.put(["a", "b"], [np.ones((1, 64)), np.ones((1, 8))]), EmbeddingShapeError,
         "page 'b': embedding has 8 dimensions, expected 64 like the other resident"),
        (lambda s: s.put(["a", "a"], [np.ones((1, 64))] * 2), InvalidInputError, "'a': came twice"),
        (lambda s: s.drop(["p0", "nope"]), InvalidInputError, "page 'nope': is not resident"),
        (lambda s: s.score(QUERIES, ["nope"]), InvalidInputError, "page 'nope': is not resident"),
        (lambda s: s.score(QUERIES, ["p0", "p0"]), InvalidInputError, "page 'p0': came twice"),
        (lambda s: s.score([np.ones((1, 8), np.float32)]), EmbeddingShapeError,
         "queries have 8 dimensions, expected 64"),
    ],
)  # fmt: skip
def test_refusals_change_nothing(call, error: type[Exception], message: str) -> None:
    store = filled(Scorer())
    before = store.contents()
    with pytest.raises(error, match=message):
        call(store)
    assert store.contents() == before


@pytest.mark.parametrize("backend", ["auto", TRITON])
def test_many_threads_at_once(backend: str) -> None:
    store, troubles = filled(scorer(backend), 64 * MEBIBYTE), []
    alone = {item: store.score(QUERIES, [item]).scores[:, 0] for item in PAGES}

    def change(name: str) -> None:
        for _ in range(50):
            store.put([name], [PAGES["p0"]])
            store.drop([name])

    def look() -> None:
        for _ in range(100):
            found = store.score(QUERIES)
            for item, scores in zip(found.ids, found.scores.T, strict=True):
                if not np.array_equal(scores, alone.get(item, alone["p0"])):
                    troubles.append(item)

    threads = [threading.Thread(target=change, args=[f"new{i}"]) for i in range(3)]
    threads += [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
    assert store.contents().ids == list(PAGES)
