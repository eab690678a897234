"""Pooling: colpali-engine's own, and safe on pages where many vectors are alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from colpali_engine.compression.token_pooling import HierarchicalTokenPooler
from hypothesis import given, settings
from hypothesis import strategies as st

from colpali_serve.client.pdf import iter_pdf
from colpali_serve.client.reading import Reading
from colpali_serve.engine.encoder import Encoder, ImageInput
from colpali_serve.engine.pooling import pool
from tests.conftest import ROOT


def unit(count: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def bundled_page(start_from: Callable[..., Encoder]) -> np.ndarray:
    """A page of two thousand vectors, many of them of blank paper."""
    pages = iter_pdf(ROOT / "examples/pages/bzip2-manual.pdf", "page", Reading())
    page = ImageInput("page", next(pages).load().image)
    encoder = start_from("colpali-tiny", embedding_dtype="float32")
    return encoder.embed_images([page])[0].embedding


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 99))
def test_keeps_about_one_vector_in_pool_factor(count: int, factor: int, seed: int) -> None:
    pooled = pool(unit(count, 16, seed), factor)
    assert pooled.dtype == np.float32
    assert 1 <= len(pooled) <= (count if factor == 1 else max(1, count // factor))
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 120), st.integers(2, 9), st.integers(0, 99))
def test_the_clusters_are_colpali_engines_own(count: int, factor: int, seed: int) -> None:
    rows = unit(count, 16, seed)
    own = HierarchicalTokenPooler().pool_embeddings([torch.from_numpy(rows)], pool_factor=factor)
    expected, found = own[0].numpy(), pool(rows, factor)
    assert found.shape == expected.shape
    # Clusters have no order: each of either has its like among the others.
    alike = expected @ found.T
    assert min(alike.max(0).min(), alike.max(1).min()) > 0.99999


def test_a_real_page_keeps_its_clusters(bundled_page: np.ndarray) -> None:
    own = HierarchicalTokenPooler().pool_embeddings([torch.from_numpy(bundled_page)], pool_factor=3)
    expected, found = own[0].numpy(), pool(bundled_page, 3)
    assert found.shape == expected.shape
    assert (expected @ found.T).max(1).min() > 0.9999


@pytest.mark.parametrize("factor", [2, 5, 100])
def test_a_blank_page_of_identical_vectors(factor: int) -> None:
    rows = np.repeat(unit(1, 16, 0), 40, axis=0)
    pooled = pool(rows, factor)
    assert np.isfinite(pooled).all()
    np.testing.assert_allclose(pooled, np.repeat(rows[:1], len(pooled), axis=0), atol=1e-6)
