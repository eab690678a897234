"""What both clients share: their settings and how they describe work."""

from __future__ import annotations

import os
from collections.abc import Sequence

from colpali_serve.client.connection import Connection, Patience
from colpali_serve.client.embedding import QueryInput, page_steps, query_steps
from colpali_serve.client.heatmaps import heatmap_steps
from colpali_serve.client.progress import progress_bar
from colpali_serve.client.reading import Reading
from colpali_serve.client.resident import put_steps, score_resident_steps
from colpali_serve.client.results import Heatmap, KeptPage, PageEmbedding, QueryEmbedding
from colpali_serve.client.scoring import Block, score_steps
from colpali_serve.client.sources import PageInput, Pages, count_pages
from colpali_serve.client.steps import Steps
from colpali_serve.client.to_score import PagesToScore, QueriesToScore
from colpali_serve.schemas import ConfigError, EncodeParameters
from colpali_serve.schemas.compression import EmbeddingDtype
from colpali_serve.schemas.parameters import OnError


class BaseClient:
    """Settings of a client, and its connection.

    Args:
        host: Name or address of the service.
        port: Port of its gRPC gateway.
        tls: Encrypt the connection.
        api_key: For a service that wants one; None takes `COLPALI_API_KEY` from the environment.
        timeout_s: Deadline of one post, in seconds; None waits for ever. The default leaves room
            for a model of several billion parameters on a CPU.
        batch_pages: Pages in one post.
        max_in_flight: Posts under way at once; the pages of one more are held in memory.
        retries: Further attempts of a post where the service is unavailable or overloaded.
        backoff_s: Wait before the first of them, in seconds; it doubles each time, with jitter.
        dpi: Resolution at which PDF pages are rendered, in dots per inch.
        max_pdf_pages: A PDF of more pages is refused.
        max_pixels: A PDF page that would be rendered to more pixels is refused.
        progress: Show a progress bar for pages on stderr, if that is a terminal.

    Raises:
        ConfigError: A number is too small.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 54321,
        *,
        tls: bool = False,
        api_key: str | None = None,
        timeout_s: float | None = 300.0,
        batch_pages: int = 4,
        max_in_flight: int = 2,
        retries: int = 4,
        backoff_s: float = 0.5,
        dpi: int = 150,
        max_pdf_pages: int = 2000,
        max_pixels: int = 50_000_000,
        progress: bool = False,
    ) -> None:
        _check_at_least(1, port=port, batch_pages=batch_pages, max_in_flight=max_in_flight)
        _check_at_least(1, dpi=dpi, max_pdf_pages=max_pdf_pages, max_pixels=max_pixels)
        _check_at_least(0, retries=retries, backoff_s=backoff_s)
        if timeout_s is not None and timeout_s <= 0:
            raise ConfigError(f"timeout_s is {timeout_s}, expected more than 0", "timeout_s")
        self._reading = Reading(dpi, max_pdf_pages, max_pixels)
        self._batch_pages = batch_pages
        self._max_in_flight = max_in_flight
        self._progress = progress
        patience = Patience(timeout_s, retries, backoff_s)
        key = os.environ.get("COLPALI_API_KEY") if api_key is None else api_key
        self._connection = Connection(host, port, tls, patience, key or None)

    def _page_steps(
        self,
        pages: Pages,
        embedding_dtype: EmbeddingDtype,
        pool_factor: int | None,
        on_error: OnError,
    ) -> Steps[PageEmbedding]:
        parameters = _parsed(embedding_dtype, on_error, pool_factor)

        def steps() -> Steps[PageEmbedding]:
            with progress_bar(self._progress, lambda: count_pages(pages, self._reading)) as bar:
                yield from page_steps(
                    self._connection,
                    pages,
                    parameters,
                    self._reading,
                    self._batch_pages,
                    self._max_in_flight,
                    bar,
                )

        return steps()

    def _query_steps(
        self,
        queries: QueryInput | Sequence[QueryInput],
        embedding_dtype: EmbeddingDtype,
        on_error: OnError,
    ) -> Steps[QueryEmbedding]:
        parameters = _parsed(embedding_dtype, on_error)
        return query_steps(
            self._connection, queries, parameters, self._reading, self._max_in_flight
        )

    def _put_steps(
        self,
        pages: PagesToScore,
        embedding_dtype: EmbeddingDtype | None,
        pool_factor: int | None,
        on_error: OnError,
    ) -> Steps[KeptPage]:
        parameters = _parsed(embedding_dtype, on_error, pool_factor)
        return put_steps(
            self._connection,
            pages,
            parameters,
            self._reading,
            self._batch_pages,
            self._max_in_flight,
        )

    def _resident_steps(
        self, queries: QueriesToScore, ids: Sequence[str] | None, top_k: int | None
    ) -> Steps[Block]:
        return score_resident_steps(
            self._connection,
            queries,
            ids,
            top_k,
            lambda raw: self._query_steps(raw, "float16", "raise"),
            self._max_in_flight,
        )

    def _score_steps(
        self, queries: QueriesToScore, pages: PagesToScore, on_error: OnError
    ) -> Steps[Block]:
        return score_steps(
            self._connection,
            queries,
            pages,
            lambda raw: self._query_steps(raw, "float16", "raise"),
            lambda raw: self._page_steps(raw, "float16", None, on_error),
            self._max_in_flight,
        )

    def _heatmap_steps(
        self, query: str, page: PageInput, number: int | None, all_tokens: bool
    ) -> Steps[Heatmap]:
        if number is not None:
            _check_at_least(1, number=number)
        return heatmap_steps(self._connection, query, page, number, all_tokens, self._reading)


def _check_at_least(least: float, **settings: float) -> None:
    for name, value in settings.items():
        if value < least:
            raise ConfigError(f"{name} is {value}, expected at least {least:g}", name)


def _parsed(
    embedding_dtype: EmbeddingDtype | None, on_error: OnError, pool_factor: int | None = None
) -> EncodeParameters:
    return EncodeParameters.parse(
        {
            "embedding_dtype": embedding_dtype,
            "pool_factor": pool_factor,
            "on_error": on_error,
        }
    )
