"""MaxSimRanker: embeddings to scores."""

# No `from __future__ import annotations`: Jina reads the endpoints' document classes from them.
from typing import Any, get_args

import numpy as np
from docarray import DocList
from jina import Executor, requests
from numpy.typing import NDArray

from colpali_serve.engine.maxsim import PageStore, Precision, Rows, Scorer, rank, rows_of
from colpali_serve.executors.boundary import boundary
from colpali_serve.executors.counts import check_count, check_score_counts
from colpali_serve.executors.scorable import Width, page_check, query_check, strip, usable_items
from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    HEATMAP,
    INFO,
    PAGES_DROP,
    PAGES_LIST,
    PAGES_PUT,
    SCORE,
    SCORE_EMBEDDINGS,
    ConfigError,
    HeatmapDoc,
    InfoDoc,
    InvalidInputError,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    ScoreParameters,
    StoreDoc,
    StoreParameters,
    compress,
    describe,
    owner,
)

_MEBIBYTE = 1024**2
_PRECISIONS = get_args(Precision)


class MaxSimRanker(Executor):
    """Scores queries against pages by late interaction: pages that come along, or resident ones.

    Args:
        backend: What computes scores: "auto", "amx", "avx512", "avx2", "triton", "torch" or
            "numpy". On a card "auto" takes "triton" or "torch", whichever is faster there.
        precision: "auto" computes float32 pages in float32, float16 pages in bfloat16 (scores of
            20 were about 0.005 off), int8 and binary pages in int8 (0.03); "float32" computes
            everything in float32, "bfloat16" everything in bfloat16.
        threads: Threads of the compiled kernel. More than one only on cores of its own.
        device: For triton and torch: "cpu", "cuda" or "cuda:<index>"; resident pages live there.
        max_resident_mb: Memory for resident pages, in MiB. With 0 there are none, and `/pages/*`
            are not bound: Jina wants every Executor behind this one to bind them, too.
        block_mb: Similarities that a portable backend holds at a time, in MiB, whatever the
            number of pages; the compiled kernel holds none, triton the best one of each query
            vector with each page.
        max_request_items: Queries, and pages, in one request.
        kwargs: Jina's own.

    Raises:
        ConfigError: A setting is not allowed, or the backend does not work here.
    """

    def __init__(
        self,
        backend: str = "auto",
        precision: Precision = "auto",
        threads: int = 1,
        device: str = "cpu",
        max_resident_mb: int = 0,
        block_mb: int = 64,
        max_request_items: int = 4096,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_whole(
            threads=threads,
            block_mb=block_mb,
            max_request_items=max_request_items,
        )
        _check_whole(least=0, max_resident_mb=max_resident_mb)
        if precision not in _PRECISIONS:
            raise ConfigError(
                f"setting 'precision' is {precision!r}, expected one of {', '.join(_PRECISIONS)}",
                "precision",
            )
        self._scorer = Scorer(backend, precision, threads, block_mb * _MEBIBYTE, device)
        self._store = PageStore(self._scorer, max_resident_mb * _MEBIBYTE)
        if not max_resident_mb:
            for endpoint in (PAGES_PUT, PAGES_DROP, PAGES_LIST):
                self.requests.pop(endpoint)
        self._max_items = max_request_items
        self.logger.info(
            f"MaxSim by {self._scorer.backend.name}, precision {precision}, {threads} threads"
        )

    @requests(on=[SCORE_EMBEDDINGS, SCORE])
    def score(
        self, docs: DocList[ScoreDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[ScoreDoc]:
        """Fill `scores` and `ranking`, and drop the embeddings unless they were asked for.

        Args:
            docs: Each with at least one query, and at least one page or the ids of resident ones;
                all embeddings of a document are of one width.
            parameters: See `ScoreParameters`.

        Raises:
            EmbeddingShapeError: An embedding is missing or has the wrong shape, dtype or values.
            InvalidInputError: No documents, queries or pages, a page that is not resident, or a
                bad parameter.
        """
        with boundary(self.logger):
            chosen = ScoreParameters.parse(parameters)
            check_score_counts(docs, self._max_items)
            for doc in docs:
                self._score(doc, chosen)
            return docs

    @requests(on=PAGES_PUT)
    def put_pages(
        self, docs: DocList[PageDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[PageDoc]:
        """Keep pages in memory by their ids, and hand the documents back without embeddings.

        Args:
            docs: Pages with embeddings of any form; a page whose id is there already is replaced.
            parameters: See `StoreParameters`.

        Raises:
            EmbeddingShapeError: An embedding is missing or has the wrong shape, dtype or values,
                or another width than the pages that are there.
            InvalidInputError: No pages, two pages of one id, or a bad parameter.
            OverloadedError: There is no room for them; none of them is kept.
        """
        with boundary(self.logger):
            chosen = StoreParameters.parse(parameters)
            check_count(len(docs), "pages", self._max_items)
            keep, width = chosen.on_error == "keep", Width()
            # Where bad pages are kept apart, one of another width than those that are there is one.
            width.dim = self._store.dim if keep else None
            usable = usable_items(docs, keep, page_check(width))
            pages = [
                page
                if chosen.embedding_dtype is None
                else compress(page, chosen.embedding_dtype, owner("page", str(docs[index].id)))
                for index, page in usable.items()
            ]
            self._store.put([str(docs[index].id) for index in usable], pages)
            for doc in docs:
                strip(doc, keep_embedding=False)
            return docs

    @requests(on=PAGES_DROP)
    def drop_pages(
        self, docs: DocList[PageDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[PageDoc]:
        """Forget pages.

        Args:
            docs: Pages of which only the ids matter.
            parameters: See `StoreParameters`.

        Raises:
            InvalidInputError: No pages, or one is not resident; then none is forgotten.
        """
        with boundary(self.logger):
            chosen = StoreParameters.parse(parameters)
            check_count(len(docs), "pages", self._max_items)
            if chosen.on_error == "raise":
                self._store.drop([str(doc.id) for doc in docs])
            for doc in docs:
                if chosen.on_error == "keep":
                    try:
                        self._store.drop([str(doc.id)])
                    except InvalidInputError as error:
                        doc.error = describe(error)
                strip(doc, keep_embedding=False)
            return docs

    @requests(on=PAGES_LIST)
    def list_pages(self, docs: DocList[StoreDoc], **_: Any) -> DocList[StoreDoc]:
        """Fill in what is in memory.

        Args:
            docs: Any number, mostly one.
        """
        with boundary(self.logger):
            found = self._store.contents()
            for doc in docs:
                doc.ids = found.ids
                doc.size_mb = found.size_bytes / _MEBIBYTE
                doc.max_mb = found.max_bytes / _MEBIBYTE
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
        width, keep = Width(), chosen.on_error == "keep"
        queries = usable_items(doc.queries, keep, query_check(width))
        if doc.resident is not None:
            self._score_resident(doc, queries, chosen)
        else:
            pages = usable_items(doc.pages, keep, page_check(width))
            scores = np.full((len(doc.queries), len(doc.pages)), np.nan, np.float32)
            if queries and pages:
                rows: list[Rows] = [rows_of(page) for page in pages.values()]
                found = self._scorer.score_rows([*queries.values()], rows)
                scores[np.ix_([*queries], [*pages])] = found
            doc.scores = scores
            doc.ranking = rank(scores, chosen.top_k)
        for item in (*doc.queries, *doc.pages):
            strip(item, chosen.return_embeddings)

    def _score_resident(
        self, doc: ScoreDoc, queries: dict[int, NDArray[np.float32]], chosen: ScoreParameters
    ) -> None:
        if not queries:
            ids = doc.resident or self._store.contents().ids
            scores = np.full((len(doc.queries), len(ids)), np.nan, np.float32)
        else:
            # An empty list means all.
            ids, found = self._store.score([*queries.values()], doc.resident or None)
            scores = np.full((len(doc.queries), len(ids)), np.nan, np.float32)
            scores[[*queries]] = found
        ranking = rank(scores, chosen.top_k)
        if chosen.top_k is not None:
            # A million scores need not travel for the sake of the best ten.
            columns, ranking = np.unique(ranking, return_inverse=True)
            ranking = ranking.reshape(len(doc.queries), -1).astype(np.int64)
            ids, scores = [ids[column] for column in columns], scores[:, columns]
        doc.resident, doc.scores, doc.ranking = list(ids), scores, ranking


def _check_whole(least: int = 1, **settings: object) -> None:
    for name, value in settings.items():
        if not isinstance(value, int) or value < least:
            expected = "a positive whole number" if least else "a whole number, 0 or more"
            raise ConfigError(f"setting '{name}' is {value!r}, expected {expected}", name)
