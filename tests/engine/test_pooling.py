"""Pooling: colpali-engine's own, and safe on pages where many vectors are alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from colpali_engine.compression.token_pooling import HierarchicalTokenPooler
from hypothesis import given, settings
from hypothesis import strategies as st

from colpali_serve.engine.pooling import pool


def unit(count: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 99))
def test_keeps_about_one_vector_in_pool_factor(count: int, factor: int, seed: int) -> None:
    pooled = pool(unit(count, 16, seed), factor)
    assert pooled.dtype == np.float32
    assert 1 <= len(pooled) <= (count if factor == 1 else max(1, count // factor))
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-5)


def test_is_colpali_engines_own() -> None:
    rows = unit(50, 16, 0)
    expected = HierarchicalTokenPooler().pool_embeddings([torch.from_numpy(rows)], pool_factor=3)
    np.testing.assert_array_equal(pool(rows, 3), expected[0].numpy())


@pytest.mark.parametrize("factor", [2, 5, 100])
def test_a_blank_page_of_identical_vectors(factor: int) -> None:
    rows = np.repeat(unit(1, 16, 0), 40, axis=0)
    pooled = pool(rows, factor)
    assert np.isfinite(pooled).all()
    np.testing.assert_allclose(pooled, np.repeat(rows[:1], len(pooled), axis=0), atol=1e-6)
