"""MaxSimRanker: embeddings to scores."""

# No `from __future__ import annotations`: Jina reads the endpoints' document classes from them.
from collections.abc import Sequence
from typing import Any

import numpy as np
from docarray import DocList
from jina import Executor, requests

from colpali_serve.engine.maxsim import maxsim, rank
from colpali_serve.executors.boundary import boundary
from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    SCORE,
    SCORE_EMBEDDINGS,
    ConfigError,
    Embedding,
    InvalidInputError,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    ScoreParameters,
    check_embedding,
    owner,
)

_MEBIBYTE = 1024**2


class MaxSimRanker(Executor):
    """Scores queries against pages by late interaction, exactly.

    Args:
        block_mb: Similarities held at a time, in MiB, whatever the number of pages.
        kwargs: Jina's own.

    Raises:
        ConfigError: `block_mb` is not a positive whole number.
    """

    def __init__(self, block_mb: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(block_mb, int) or block_mb < 1:
            raise ConfigError(
                f"setting 'block_mb' is {block_mb!r}, expected a positive whole number", "block_mb"
            )
        self._block_bytes = block_mb * _MEBIBYTE

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
            _check_not_empty(docs, "score documents")
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

    def _score(self, doc: ScoreDoc, chosen: ScoreParameters) -> None:
        _check_not_empty(doc.queries, "queries")
        _check_not_empty(doc.pages, "pages")
        # Documents that failed before they came here score NaN and rank last.
        queries = [index for index, query in enumerate(doc.queries) if query.error is None]
        pages = [index for index, page in enumerate(doc.pages) if page.error is None]
        embeddings = _checked([doc.queries[i] for i in queries], [doc.pages[i] for i in pages])
        scores = np.full((len(doc.queries), len(doc.pages)), np.nan, np.float32)
        if queries and pages:
            scores[np.ix_(queries, pages)] = maxsim(*embeddings, block_bytes=self._block_bytes)
        doc.scores = scores
        doc.ranking = rank(scores, chosen.top_k)
        for item in (*doc.queries, *doc.pages):
            item.image = None
            if not chosen.return_embeddings:
                item.embedding = None
        for page in doc.pages:
            page.url = None


def _checked(
    queries: Sequence[QueryDoc], pages: Sequence[PageDoc]
) -> tuple[list[Embedding], list[Embedding]]:
    dim: int | None = None
    sides: list[list[Embedding]] = []
    for kind, items in (("query", queries), ("page", pages)):
        side = []
        for item in items:
            array = check_embedding(item.embedding, owner(kind, str(item.id)), str(item.id), dim)
            dim = array.shape[1]
            side.append(array)
        sides.append(side)
    return sides[0], sides[1]


def _check_not_empty(items: Sequence[Any], what: str) -> None:
    if not len(items):
        raise InvalidInputError(f"request has 0 {what}, expected at least one")
