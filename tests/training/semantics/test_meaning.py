"""What texts mean, in fewer dimensions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.semantics.meaning import (
    CHUNK_WORDS,
    PARTS,
    ROWS,
    WHOLE,
    Space,
    chunks,
)

DIM, KEPT = 24, 8


def vectors(seed: int, count: int) -> np.ndarray:
    """Unit vectors that have much in common, and differ mostly along a few directions."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, DIM)) * np.linspace(2, 0.1, DIM) + 3
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def space() -> Space:
    return Space.of(vectors(0, 200), vectors(1, 50), KEPT)


@given(st.integers(0, 400))
def test_chunks_hold_the_words_in_order(count: int) -> None:
    words = [f"w{number}" for number in range(count)]
    made = chunks(words)
    assert made
    told = " ".join(made).split()
    assert told == words[: len(told)]
    assert count - len(told) <= CHUNK_WORDS // 2
    assert all(len(chunk.split()) <= CHUNK_WORDS for chunk in made)


def test_a_space_keeps_the_directions_in_which_chunks_differ_most() -> None:
    made = space()
    np.testing.assert_allclose(made.basis.T @ made.basis, np.eye(KEPT), atol=1e-5)
    apart = vectors(0, 200) - made.page_mean
    kept = (apart @ made.basis).var(0).sum()
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, KEPT)))
    assert kept > 1.5 * (apart @ turned).var(0).sum()
    assert kept >= np.sort(apart.var(0))[-KEPT:].sum()


@given(st.integers(1, 3 * PARTS))
def test_a_page_means_the_whole_and_its_parts(count: int) -> None:
    made, said = space(), vectors(2, count)
    rows = made.page(said)
    assert rows.shape == (ROWS, KEPT)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    whole = made.page(said.mean(0, keepdims=True))[0]
    np.testing.assert_allclose(rows[:WHOLE], np.stack([whole] * WHOLE), atol=1e-5)
    if count >= PARTS:
        first = np.array_split(said, PARTS)[0].mean(0, keepdims=True)
        np.testing.assert_allclose(rows[WHOLE], made.page(first)[0], atol=1e-5)


def test_a_query_is_nearest_to_the_page_that_says_it() -> None:
    made, said = space(), vectors(3, 10)
    pages = np.stack([made.page(row[None])[0] for row in said])
    close = made.queries(said + 0.01) @ pages.T
    assert (close.argmax(1) == np.arange(10)).all()
