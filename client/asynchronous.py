"""The client for code that runs in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from colpali_serve.client.base import BaseClient
from colpali_serve.client.embedding import QueryInput
from colpali_serve.client.ranking import check_top_k, ranked
from colpali_serve.client.results import PageEmbedding, QueryEmbedding, RankedPage
from colpali_serve.client.scoring import PagesToScore, QueriesToScore, Scores, joined
from colpali_serve.client.sources import Pages
from colpali_serve.client.steps import run_async
from colpali_serve.schemas.compression import EmbeddingDtype
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
        embedding_dtype: EmbeddingDtype = "float16",
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

    async def is_ready(self) -> bool:
        """Tell whether the service answers now, with all of its Executors."""
        return await asyncio.wrap_future(self._connection.ready())

    async def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return when the service answers; see `ColPaliClient.wait_ready`."""
        await asyncio.wrap_future(self._connection.wait_ready(timeout_s))
