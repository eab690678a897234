"""The client for code without an event loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

from colpali_serve.client.embedding import QueryInput
from colpali_serve.client.keeping import KeepingClient
from colpali_serve.client.ranking import check_top_k, ranked
from colpali_serve.client.results import Heatmap, PageEmbedding, QueryEmbedding, RankedPage
from colpali_serve.client.scoring import Scores, joined
from colpali_serve.client.sources import PageInput, Pages
from colpali_serve.client.steps import run
from colpali_serve.client.to_score import PagesToScore, QueriesToScore
from colpali_serve.schemas.compression import EmbeddingDtype, FloatDtype
from colpali_serve.schemas.parameters import OnError


class ColPaliClient(KeepingClient):
    """Client of a colpali-serve Flow whose methods return when the work is done.

    It may be used from several threads at once, and also where an event loop is running, as in a
    notebook. Its connection is opened when it is needed and closed when it has been idle for a
    moment; `close`, or a `with` block's end, closes it at once.

    Every method raises `ServiceUnavailableError` if the service cannot be reached or is late,
    `OverloadedError` if it stays full, `RemoteError` if it fails in an unknown way, and the
    service's own errors (`InvalidPageError`, `InvalidQueryError`, `EncodingError`, ...) for what
    it refuses. Its settings are those of `BaseClient`:

        client = ColPaliClient("localhost", 54321, batch_pages=8, progress=True)
        pages = client.embed_pages(["report.pdf", "scans/"])
        best = client.rank("total of the invoice", pages, top_k=3)[0]
    """

    def embed_pages(
        self,
        pages: Pages,
        *,
        embedding_dtype: EmbeddingDtype = "float16",
        pool_factor: int | None = None,
        on_error: OnError = "raise",
    ) -> list[PageEmbedding]:
        """Embed pages.

        Args:
            pages: One of the following, or any number of them, also from a generator: path of an
                image or a PDF; path of a folder, which stands for all images and PDFs inside it
                and its folders; PIL image; uint8 array (H, W), (H, W, 3) or (H, W, 4); bytes of
                an image or a PDF; data URI; `PageDoc`.
            embedding_dtype: Form of the embeddings: "float16", "float32", "int8" with one scale a
                page, or "binary", signs, eight a byte.
            pool_factor: Pages keep about 1/pool_factor of their vectors; None leaves it to the
                service.
            on_error: "raise" stops at the first bad page, "keep" embeds the good ones and says
                in each bad one's `error` what was wrong.

        Returns:
            One result a page, in order. A page is called by its file's name, relative to the
            folder if one was given; the third page of a PDF or a TIFF is ``manual.pdf#3``; others
            are ``page-0001`` and so on, by their place in `pages`.

        Raises:
            InvalidPageError: A page is missing, broken, encrypted, too large or of an unknown
                kind, and `on_error` is "raise".
            InvalidInputError: A parameter is not allowed.
        """
        return list(
            self.embed_pages_iter(
                pages,
                embedding_dtype=embedding_dtype,
                pool_factor=pool_factor,
                on_error=on_error,
            )
        )

    def embed_pages_iter(
        self,
        pages: Pages,
        *,
        embedding_dtype: EmbeddingDtype = "float16",
        pool_factor: int | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[PageEmbedding]:
        """Embed pages as `embed_pages` does, handing over each as it comes, in order.

        At most (max_in_flight + 1) * batch_pages pages are held in memory, however many there
        are. `pages` is read in the caller's thread.

        Yields:
            One result a page.
        """
        return run(self._page_steps(pages, embedding_dtype, pool_factor, on_error))

    def embed_queries(
        self,
        queries: QueryInput | Sequence[QueryInput],
        *,
        embedding_dtype: FloatDtype = "float16",
        on_error: OnError = "raise",
    ) -> list[QueryEmbedding]:
        """Embed queries.

        Args:
            queries: One of the following, or any number of them: str, always text; path, PIL
                image, array or bytes of a page to search by; `QueryDoc`.
            embedding_dtype: dtype of the embeddings.
            on_error: As in `embed_pages`.

        Returns:
            One result a query, in order.

        Raises:
            InvalidQueryError: A query is bad and `on_error` is "raise".
        """
        return list(run(self._query_steps(queries, embedding_dtype, on_error)))

    def score(
        self, queries: QueriesToScore, pages: PagesToScore, *, on_error: OnError = "raise"
    ) -> Scores:
        """Score each query against each page.

        Args:
            queries: Results of `embed_queries`, arrays (n_vectors, dim), or what `embed_queries`
                takes, which is embedded first, as float16.
            pages: Results of `embed_pages`, arrays (n_vectors, dim), `Compressed`, or what
                `embed_pages` takes; also a generator, of which only a part is held in memory.
            on_error: As in `embed_pages`, for pages that are embedded first.

        Returns:
            float32 (n_queries, n_pages), the MaxSim of each pair, in [-n_vectors, n_vectors] for
            the query's n_vectors; NaN where the query or the page failed.

        Raises:
            EmbeddingShapeError: An embedding has the wrong shape, dtype, width or values.
            InvalidQueryError: A query is bad, or there is none.
            InvalidPageError: As in `embed_pages`.
        """
        return joined(list(run(self._score_steps(queries, pages, on_error)))).scores

    def rank(
        self,
        queries: QueriesToScore,
        pages: PagesToScore,
        top_k: int | None = None,
        *,
        on_error: OnError = "raise",
    ) -> list[list[RankedPage]]:
        """Rank pages for each query.

        Args:
            queries: As in `score`.
            pages: As in `score`; arrays are called ``page-0001`` and so on.
            top_k: Length of each ranking; None ranks all pages.
            on_error: As in `score`; pages that failed rank last.

        Returns:
            For each query its pages, the best first.

        Raises:
            InvalidInputError: `top_k` is below 1; otherwise as `score`.
        """
        check_top_k(top_k)
        return ranked(joined(list(run(self._score_steps(queries, pages, on_error)))), top_k)

    def heatmap(
        self, query: str, page: PageInput, number: int | None = None, *, all_tokens: bool = False
    ) -> Heatmap:
        """Tell where on a page each token of a query finds its like.

        Args:
            query: The text.
            page: As in `embed_pages`, one page.
            number: Which page of a PDF or folder of several, from 1.
            all_tokens: Show also the tokens that the checkpoint puts around the text.

        Returns:
            Its maps, and a method that draws them over the page.

        Raises:
            InvalidPageError: The page is bad, or it is not one page.
            InvalidQueryError: The query is bad.
        """
        (found,) = run(self._heatmap_steps(query, page, number, all_tokens))
        return found

    def is_ready(self) -> bool:
        """Tell whether the service answers now, with all of its Executors."""
        return self._connection.ready().result()

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return when the service answers.

        Args:
            timeout_s: How long to wait, in seconds.

        Raises:
            ServiceUnavailableError: It did not within that time.
        """
        waiting = self._connection.wait_ready(timeout_s)
        try:
            waiting.result()
        finally:
            # After Ctrl-C it would go on asking.
            waiting.cancel()

    def close(self) -> None:
        """Close the connection, if it is open; whatever is called later opens another."""
        self._connection.close().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
