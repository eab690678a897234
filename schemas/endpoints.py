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
PAGES_PUT: Final = "/pages/put"
"""PageDoc -> PageDoc: kept in the ranker's memory by `id`, missing embeddings are computed first;
`image`, `url` and `embedding` removed."""

PAGES_DROP: Final = "/pages/drop"
"""PageDoc -> PageDoc: the pages of these ids leave the ranker's memory."""

PAGES_LIST: Final = "/pages/list"
"""StoreDoc -> StoreDoc: what is in the ranker's memory."""

ENDPOINTS: Final[tuple[str, ...]] = (
    EMBED_IMAGES,
    EMBED_QUERIES,
    SCORE_EMBEDDINGS,
    SCORE,
    HEATMAP,
    INFO,
    PAGES_PUT,
    PAGES_DROP,
    PAGES_LIST,
)
