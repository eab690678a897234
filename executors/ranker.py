"""MaxSimRanker: embeddings to scores."""

# No `from __future__ import annotations`: Jina reads the endpoints' document classes from them.
from collections.abc import Sequence
from typing import Any

import numpy as np
from docarray import DocList
from jina import Executor, requests

from colpali_serve.engine.maxsim import maxsim, rank
from colpali_serve.executors.boundary import boundary
from colpali_serve.executors.counts import check_score_counts
from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    HEATMAP,
    INFO,
    SCORE,
    SCORE_EMBEDDINGS,
    ConfigError,
    Embedding,
    EmbeddingShapeError,
    HeatmapDoc,
    InfoDoc,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    ScoreParameters,
    check_embedding,
    describe,
    owner,
)

_MEBIBYTE = 1024**2


class MaxSimRanker(Executor):
    """Scores queries against pages by late interaction, exactly.

    Args:
        block_mb: Similarities held at a time, in MiB, whatever the number of pages.
        max_request_items: Queries, and pages, in one request.
        kwargs: Jina's own.

    Raises:
        ConfigError: A setting is not a positive whole number.
    """

    def __init__(self, block_mb: int = 64, max_request_items: int = 4096, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("block_mb", block_mb), ("max_request_items", max_request_items)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"setting '{name}' is {value!r}, expected a positive whole number", name
                )
        self._block_bytes = block_mb * _MEBIBYTE
        self._max_items = max_request_items

    @requests(on=[SCORE_EMBEDDINGS, SCORE])
    def score(
        self, docs: DocList[ScoreDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[ScoreDoc]:
        """Fill `scores` and `ranking`, and drop the embeddings unless they were asked for.

        Args:
            docs: Each with at least one query and one page, all with embeddings of one width.
            parameters: See `ScoreParameters`.

        Raises:
            EmbeddingShapeError: An embedding is missing or has the wrong shape, dtype or values.
            InvalidInputError: No documents, queries or pages, or a bad parameter.
        """
        with boundary(self.logger):
            chosen = ScoreParameters.parse(parameters)
            check_score_counts(docs, self._max_items)
            for doc in docs:
                self._score(doc, chosen)
            return docs

    # Jina's own gateway wants every Executor of a chain to bind what the one before it binds.
    # Ours goes past the ranker instead.
    @requests(on=EMBED_IMAGES)
    def pass_pages(self, docs: DocList[PageDoc], **_: Any) -> DocList[PageDoc]:
        """Hand embedded pages through."""
        return docs

    @requests(on=EMBED_QUERIES)
    def pass_queries(self, docs: DocList[QueryDoc], **_: Any) -> DocList[QueryDoc]:
        """Hand embedded queries through."""
        return docs

    @requests(on=HEATMAP)
    def pass_heatmaps(self, docs: DocList[HeatmapDoc], **_: Any) -> DocList[HeatmapDoc]:
        """Hand heatmaps through."""
        return docs

    @requests(on=INFO)
    def pass_info(self, docs: DocList[InfoDoc], **_: Any) -> DocList[InfoDoc]:
        """Hand what the encoder says of itself through."""
        return docs

    def _score(self, doc: ScoreDoc, chosen: ScoreParameters) -> None:
        # Documents that failed, here or before they came here, score NaN and rank last.
        width = _Width()
        queries = _usable("query", doc.queries, width, chosen)
        pages = _usable("page", doc.pages, width, chosen)
        scores = np.full((len(doc.queries), len(doc.pages)), np.nan, np.float32)
        if queries and pages:
            found = maxsim([*queries.values()], [*pages.values()], block_bytes=self._block_bytes)
            scores[np.ix_([*queries], [*pages])] = found
        doc.scores = scores
        doc.ranking = rank(scores, chosen.top_k)
        for item in (*doc.queries, *doc.pages):
            item.image = None
            if not chosen.return_embeddings:
                item.embedding = None
        for page in doc.pages:
            page.url = None


class _Width:
    """The width that all embeddings of a document have, known from the first good one on."""

    dim: int | None = None


def _usable(
    kind: str, items: Sequence[QueryDoc | PageDoc], width: _Width, chosen: ScoreParameters
) -> dict[int, Embedding]:
    """Embeddings of the items that have a good one, by index; with "raise" that is all of them."""
    usable: dict[int, Embedding] = {}
    keep = chosen.on_error == "keep"
    for index, item in enumerate(items):
        if keep and item.error is not None:
            continue
        name = str(item.id)
        try:
            array = check_embedding(item.embedding, owner(kind, name), name, width.dim)
        except EmbeddingShapeError as error:
            if not keep:
                raise
            item.error = describe(error)
            continue
        width.dim = array.shape[1]
        usable[index] = array
    return usable
