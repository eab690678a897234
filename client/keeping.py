"""What the blocking client does about pages that the service keeps in its memory."""

from __future__ import annotations

from collections.abc import Sequence

from colpali_serve.client.base import BaseClient
from colpali_serve.client.ranking import check_top_k, ranked
from colpali_serve.client.resident import drop_steps, list_steps, stacked
from colpali_serve.client.results import KeptPage, RankedPage, ResidentPages, ResidentScores
from colpali_serve.client.steps import run
from colpali_serve.client.to_score import PagesToScore, QueriesToScore
from colpali_serve.schemas.compression import EmbeddingDtype
from colpali_serve.schemas.parameters import OnError


class KeepingClient(BaseClient):
    """Puts pages into the ranker's memory, and ranks them there; part of `ColPaliClient`."""

    def put_pages(
        self,
        pages: PagesToScore,
        *,
        embedding_dtype: EmbeddingDtype | None = None,
        pool_factor: int | None = None,
        on_error: OnError = "raise",
    ) -> list[KeptPage]:
        """Have the service keep pages in its memory, so that queries need not bring them along.

        Args:
            pages: As in `score`: embeddings, or what `embed_pages` takes, which the service embeds
                and keeps without sending the embeddings back. A page whose id is there already is
                replaced.
            embedding_dtype: Form in which they are kept; None leaves it to the service for what
                it embeds, and keeps embeddings as they are.
            pool_factor: As in `embed_pages`; not for embeddings.
            on_error: "raise" stops at the first bad page; posts before it are kept.

        Returns:
            One result a page, in order.

        Raises:
            OverloadedError: The service's memory for pages is full.
            InvalidInputError: Two pages have one name, or a parameter is not allowed.
            InvalidPageError: As in `embed_pages`.
            EmbeddingShapeError: As in `score`, or a width that is not that of the pages there.
        """
        return list(run(self._put_steps(pages, embedding_dtype, pool_factor, on_error)))

    def drop_pages(self, ids: Sequence[str] | None = None) -> list[str]:
        """Have the service forget pages.

        Args:
            ids: Of the pages; None means all that are there.

        Returns:
            The ids.

        Raises:
            InvalidInputError: A page is not there.
        """
        return list(run(drop_steps(self._connection, ids, self._max_in_flight)))

    def list_pages(self) -> ResidentPages:
        """Return which pages the service keeps, and the memory that they take."""
        return next(run(list_steps(self._connection)))

    def score_resident(
        self, queries: QueriesToScore, ids: Sequence[str] | None = None
    ) -> ResidentScores:
        """Score each query against pages that the service keeps.

        Args:
            queries: As in `score`.
            ids: Which pages, in which order; None means all that are there.

        Raises:
            InvalidInputError: A page is not there.
            InvalidQueryError: A query is bad, or there is none.
            EmbeddingShapeError: As in `score`.
        """
        return stacked(list(run(self._resident_steps(queries, ids, None))))

    def rank_resident(
        self,
        queries: QueriesToScore,
        ids: Sequence[str] | None = None,
        top_k: int | None = None,
    ) -> list[list[RankedPage]]:
        """Rank pages that the service keeps for each query.

        Args:
            queries: As in `score`.
            ids: Which pages; None means all that are there.
            top_k: Length of each ranking; None ranks all of them.

        Returns:
            For each query its pages, the best first; no pages for a query that failed.

        Raises:
            InvalidInputError: `top_k` is below 1; otherwise as `score_resident`.
        """
        check_top_k(top_k)
        blocks = run(self._resident_steps(queries, ids, top_k))
        return [ranking for block in blocks for ranking in ranked(block, top_k)]
