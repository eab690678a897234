"""Fewer vectors a page."""

from __future__ import annotations

import torch
from colpali_engine.compression.token_pooling import HierarchicalTokenPooler

from colpali_serve.schemas import Embedding


def pool(embedding: Embedding, pool_factor: int) -> Embedding:
    """Merge similar vectors of a page by hierarchical clustering.

    Args:
        embedding: float32 (n_vectors, dim), unit rows.
        pool_factor: How many times fewer vectors to keep; 1 keeps all.

    Returns:
        float32 (n, dim), unit rows, n at most max(1, n_vectors // pool_factor): fewer where many
        vectors are identical. The rows stand for no grid any more.

    Source:
        Clavié, Chaffin and Adams, Reducing the Footprint of Multi-Vector Retrieval (2024);
        colpali-engine's HierarchicalTokenPooler.
    """
    if pool_factor == 1 or len(embedding) == 1:
        return embedding
    rows = torch.from_numpy(embedding)
    pooled = HierarchicalTokenPooler().pool_embeddings([rows], pool_factor=pool_factor)
    result: Embedding = pooled[0].numpy()
    return result
