"""The endpoints, under their canonical names."""

from __future__ import annotations

from typing import Final

EMBED_IMAGES: Final = "/embed_images"
"""PageDoc -> PageDoc: `embedding` and `grid` filled, `image` and `url` removed."""

EMBED_QUERIES: Final = "/embed_queries"
"""QueryDoc -> QueryDoc: `embedding` filled, `image` removed."""

SCORE_EMBEDDINGS: Final = "/score_embeddings"
"""ScoreDoc -> ScoreDoc: `scores` and `ranking` filled from embeddings that the caller sends."""

SCORE: Final = "/score"
"""ScoreDoc -> ScoreDoc: as `/score_embeddings`, missing embeddings are computed first."""

HEATMAP: Final = "/heatmap"
"""HeatmapDoc -> HeatmapDoc: `tokens` and `maps` filled, `image` and `url` removed."""

INFO: Final = "/info"
"""InfoDoc -> InfoDoc: filled with what the encoder serves."""

ENDPOINTS: Final[tuple[str, ...]] = (
    EMBED_IMAGES,
    EMBED_QUERIES,
    SCORE_EMBEDDINGS,
    SCORE,
    HEATMAP,
    INFO,
)
