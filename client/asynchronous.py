"""The client for code that runs in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Self

from colpali_serve.client.base import BaseClient
from colpali_serve.client.embedding import QueryInput
from colpali_serve.client.ranking import check_top_k, ranked
from colpali_serve.client.resident import drop_steps, list_steps, stacked
from colpali_serve.client.results import (
    Heatmap,
    KeptPage,
    PageEmbedding,
    QueryEmbedding,
    RankedPage,
    ResidentPages,
    ResidentScores,
)
from colpali_serve.client.scoring import Scores, joined
from colpali_serve.client.sources import PageInput, Pages
from colpali_serve.client.steps import run_async
from colpali_serve.client.to_score import PagesToScore, QueriesToScore
from colpali_serve.schemas.compression import EmbeddingDtype, FloatDtype
from colpali_serve.schemas.parameters import OnError


class AsyncColPaliClient(BaseClient):
    """Client of a colpali-serve Flow whose methods are coroutines.

    Settings, arguments, results and errors are those of `ColPaliClient`. Files are read and PDF
    pages are rendered in worker threads, so a generator of pages is run there too. A cancelled
    call stops its posts.

        client = AsyncColPaliClient("localhost", 54321)
        async for page in client.embed_pages_iter("scans/"):
            ...
    """

    async def embed_pages(
        self,
        pages: Pages,
        *,
        embedding_dtype: EmbeddingDtype = "float16",
        pool_factor: int | None = None,
        on_error: OnError = "raise",
    ) -> list[PageEmbedding]:
        """Embed pages; see `ColPaliClient.embed_pages`."""
        steps = self._page_steps(pages, embedding_dtype, pool_factor, on_error)
        return [page async for page in run_async(steps)]

    def embed_pages_iter(
        self,
        pages: Pages,
        *,
        embedding_dtype: EmbeddingDtype = "float16",
        pool_factor: int | None = None,
        on_error: OnError = "raise",
    ) -> AsyncIterator[PageEmbedding]:
        """Embed pages one after the other; see `ColPaliClient.embed_pages_iter`."""
        return run_async(self._page_steps(pages, embedding_dtype, pool_factor, on_error))

    async def embed_queries(
        self,
        queries: QueryInput | Sequence[QueryInput],
        *,
        embedding_dtype: FloatDtype = "float16",
        on_error: OnError = "raise",
    ) -> list[QueryEmbedding]:
        """Embed queries; see `ColPaliClient.embed_queries`."""
        steps = self._query_steps(queries, embedding_dtype, on_error)
        return [query async for query in run_async(steps)]

    async def score(
        self, queries: QueriesToScore, pages: PagesToScore, *, on_error: OnError = "raise"
    ) -> Scores:
        """Score each query against each page; see `ColPaliClient.score`."""
        steps = self._score_steps(queries, pages, on_error)
        return joined([block async for block in run_async(steps)]).scores

    async def rank(
        self,
        queries: QueriesToScore,
        pages: PagesToScore,
        top_k: int | None = None,
        *,
        on_error: OnError = "raise",
    ) -> list[list[RankedPage]]:
        """Rank pages for each query; see `ColPaliClient.rank`."""
        check_top_k(top_k)
        steps = self._score_steps(queries, pages, on_error)
        return ranked(joined([block async for block in run_async(steps)]), top_k)

    async def heatmap(
        self, query: str, page: PageInput, number: int | None = None, *, all_tokens: bool = False
    ) -> Heatmap:
        """Tell where on a page each token finds its like; see `ColPaliClient.heatmap`."""
        steps = self._heatmap_steps(query, page, number, all_tokens)
        (found,) = [heatmap async for heatmap in run_async(steps)]
        return found

    async def put_pages(
        self,
        pages: PagesToScore,
        *,
        embedding_dtype: EmbeddingDtype | None = None,
        pool_factor: int | None = None,
        on_error: OnError = "raise",
    ) -> list[KeptPage]:
        """Have the service keep pages in its memory; see `ColPaliClient.put_pages`."""
        steps = self._put_steps(pages, embedding_dtype, pool_factor, on_error)
        return [page async for page in run_async(steps)]

    async def drop_pages(self, ids: Sequence[str] | None = None) -> list[str]:
        """Have the service forget pages; see `ColPaliClient.drop_pages`."""
        steps = drop_steps(self._connection, ids, self._max_in_flight)
        return [item async for item in run_async(steps)]

    async def list_pages(self) -> ResidentPages:
        """Return which pages the service keeps; see `ColPaliClient.list_pages`."""
        (found,) = [found async for found in run_async(list_steps(self._connection))]
        return found

    async def score_resident(
        self, queries: QueriesToScore, ids: Sequence[str] | None = None
    ) -> ResidentScores:
        """Score queries against pages that the service keeps; see `ColPaliClient`."""
        steps = self._resident_steps(queries, ids, None)
        return stacked([block async for block in run_async(steps)])

    async def rank_resident(
        self,
        queries: QueriesToScore,
        ids: Sequence[str] | None = None,
        top_k: int | None = None,
    ) -> list[list[RankedPage]]:
        """Rank pages that the service keeps for each query; see `ColPaliClient`."""
        check_top_k(top_k)
        blocks = [block async for block in run_async(self._resident_steps(queries, ids, top_k))]
        return [ranking for block in blocks for ranking in ranked(block, top_k)]

    async def is_ready(self) -> bool:
        """Tell whether the service answers now, with all of its Executors."""
        return await asyncio.wrap_future(self._connection.ready())

    async def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return when the service answers; see `ColPaliClient.wait_ready`."""
        await asyncio.wrap_future(self._connection.wait_ready(timeout_s))

    async def aclose(self) -> None:
        """Close the connection, if it is open; whatever is called later opens another."""
        await asyncio.wrap_future(self._connection.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
