"""ColPaliEncoder: pages and queries to embeddings."""

# No `from __future__ import annotations`: Jina reads the endpoints' document classes from them.
from collections.abc import Sequence
from typing import Any

from docarray import DocList
from jina import Executor, requests

from colpali_serve.engine.encoder import Encoder
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.executors.boundary import boundary
from colpali_serve.executors.counts import check_count, check_score_counts
from colpali_serve.executors.embedding import Embedder
from colpali_serve.executors.fetching import fetcher_of
from colpali_serve.executors.heatmaps import fill_heatmap, heatmap_inputs
from colpali_serve.executors.metrics import observer
from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    HEATMAP,
    INFO,
    PAGES_PUT,
    SCORE,
    ConfigError,
    EncodeParameters,
    HeatmapDoc,
    HeatmapParameters,
    InfoDoc,
    ModelLoadError,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    ScoreParameters,
    StoreParameters,
    describe,
)

_JINA_ARGUMENTS = {"metas", "requests", "runtime_args", "workspace", "dynamic_batching"}


class ColPaliEncoder(Executor):
    """Embeds page images and queries with a ColPali-family model.

    Requests run side by side and share the device: their items are batched together, queries
    before pages, and each request is answered when its own items are done. A request whose caller
    goes away is dropped.

    Args:
        kwargs: Any setting of `EncoderSettings` (`model`, `device`, `pool_factor`, ...), as in a
            YAML's `with:`. What is not given is taken from `COLPALI_<NAME>` in the environment.

    Raises:
        ConfigError: A setting is unknown or not allowed, or the device is not there.
        ModelLoadError: The checkpoint could not be found, loaded or proved.
    """

    def __init__(self, **kwargs: Any) -> None:
        own = {key: kwargs[key] for key in kwargs if key in _JINA_ARGUMENTS}
        # Endpoints only wait for the encoder's threads; Jina's lock would make each request wait
        # for the one before it.
        own["runtime_args"] = {**(own.get("runtime_args") or {}), "allow_concurrent": True}
        super().__init__(**own)
        given = {key: value for key, value in kwargs.items() if key not in _JINA_ARGUMENTS}
        try:
            settings = EncoderSettings.from_environment(given)
            self._encoder = Encoder.load(settings, observer(self.runtime_args))
        except (ConfigError, ModelLoadError) as error:
            self.logger.error(f"cannot start: {describe(error)}")
            raise
        self._embedder = Embedder(self._encoder, fetcher_of(settings), self.logger)
        if not settings.resident_pages:
            # This instance's own: whoever stands behind it in a Flow would have to bind it, too.
            self.requests.pop(PAGES_PUT)
        loaded = self._encoder.loaded
        self.logger.info(
            f"{loaded.checkpoint.name} ({loaded.family.name}) on {loaded.device} in "
            f"{str(loaded.dtype).removeprefix('torch.')}, loaded in {loaded.seconds:.1f} s, "
            f"fingerprint {loaded.fingerprint}"
        )

    def close(self) -> None:
        """End the encoder's threads; requests that still wait get `ServiceUnavailableError`."""
        self._encoder.close()
        super().close()

    @requests(on=EMBED_IMAGES)
    async def embed_images(
        self, docs: DocList[PageDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[PageDoc]:
        """Fill `embedding` and `grid` of each page and remove its image.

        Args:
            docs: Pages with `image` or `url`.
            parameters: See `EncodeParameters`.

        Raises:
            InvalidPageError: An image is bad and `on_error` is "raise".
            InvalidInputError: No pages, too many, or a bad parameter.
            EncodingError: The model failed on a page and `on_error` is "raise".
            OverloadedError: Too much waits already.
        """
        with boundary(self.logger):
            chosen = EncodeParameters.parse(parameters)
            check_count(len(docs), "pages", self._encoder.settings.max_request_items)
            await self._embedder.fill([], docs, chosen)
            return docs

    @requests(on=EMBED_QUERIES)
    async def embed_queries(
        self, docs: DocList[QueryDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[QueryDoc]:
        """Fill `embedding` of each query and remove its image.

        Args:
            docs: Queries with `text` or `image`.
            parameters: See `EncodeParameters`.

        Raises:
            InvalidQueryError: A query is bad and `on_error` is "raise".
            InvalidInputError: No queries, too many, or a bad parameter.
            EncodingError: The model failed on a query and `on_error` is "raise".
            OverloadedError: Too much waits already.
        """
        with boundary(self.logger):
            chosen = EncodeParameters.parse(parameters)
            check_count(len(docs), "queries", self._encoder.settings.max_request_items)
            await self._embedder.fill(docs, [], chosen)
            return docs

    @requests(on=INFO)
    async def info(self, docs: DocList[InfoDoc], **_: Any) -> DocList[InfoDoc]:
        """Say which checkpoint is served, and how.

        Args:
            docs: Filled, whatever they held.
        """
        loaded = self._encoder.loaded
        for doc in docs:
            doc.model = loaded.checkpoint.public_name
            doc.family = loaded.family.name
            doc.fingerprint = loaded.fingerprint
            doc.dtype = str(loaded.dtype).removeprefix("torch.")
            doc.device = loaded.device.type
            doc.pool_factor = self._encoder.settings.pool_factor
        return docs

    @requests(on=SCORE)
    async def embed_missing(
        self, docs: DocList[ScoreDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[ScoreDoc]:
        """Fill the embeddings that queries and pages to be scored do not bring along.

        Args:
            docs: Each with at least one query and one page.
            parameters: See `EncodeParameters`.

        Raises:
            InvalidInputError: As the other endpoints, and for a document without queries or pages.
            EncodingError: The model failed on an item and `on_error` is "raise".
            OverloadedError: Too much waits already.
        """
        with boundary(self.logger):
            chosen = EncodeParameters.parse(parameters)
            # Everything that can be refused is, before the first page costs anything.
            ScoreParameters.parse(parameters)
            check_score_counts(docs, self._encoder.settings.max_request_items)
            queries = [q for doc in docs for q in doc.queries if q.embedding is None]
            # Resident pages have their embeddings where they are.
            pages = [p for doc in docs for p in doc.pages if p.embedding is None]
            await self._embedder.fill(queries, pages, chosen)
            for doc in docs:
                for item in (*doc.queries, *doc.pages):
                    item.image = None
                for page in doc.pages:
                    page.url = None
            return docs

    @requests(on=HEATMAP)
    async def heatmap(
        self, docs: DocList[HeatmapDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[HeatmapDoc]:
        """Fill `tokens`, `kinds`, `maps` and `grid`, and remove the page's image.

        Args:
            docs: Each with a page and a text query.
            parameters: See `HeatmapParameters`.

        Raises:
            InvalidInputError: As the other endpoints, and for a query that is not text.
            EncodingError: The model failed on an item and `on_error` is "raise".
            OverloadedError: Too much waits already.
        """
        with boundary(self.logger):
            chosen = HeatmapParameters.parse(parameters)
            check_count(len(docs), "heatmaps", self._encoder.settings.max_request_items)
            await self._draw_up(docs, chosen)
            return docs

    async def _draw_up(self, docs: Sequence[HeatmapDoc], chosen: HeatmapParameters) -> None:
        pairs = [heatmap_inputs(doc, chosen) for doc in docs]
        encode = EncodeParameters(
            embedding_dtype="float32", pool_factor=1, on_error=chosen.on_error
        )
        wanted = [entry for pair in pairs if pair is not None for entry in pair]
        results = iter(await self._embedder.results(wanted, encode))
        for doc, pair in zip(docs, pairs, strict=True):
            if pair is not None:
                found = next(results), next(results)
                fill_heatmap(doc, found, pair[1], self._encoder.heatmapper, chosen)

    @requests(on=PAGES_PUT)
    async def embed_missing_pages(
        self, docs: DocList[PageDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[PageDoc]:
        """Fill the embeddings that pages to be kept by the ranker do not bring along.

        Args:
            docs: Pages.
            parameters: See `EncodeParameters`.

        Raises:
            InvalidPageError: An image is bad and `on_error` is "raise".
            InvalidInputError: No pages, too many, or a bad parameter.
            EncodingError: The model failed on a page and `on_error` is "raise".
            OverloadedError: Too much waits already.
        """
        with boundary(self.logger):
            chosen = EncodeParameters.parse(parameters)
            StoreParameters.parse(parameters)
            check_count(len(docs), "pages", self._encoder.settings.max_request_items)
            await self._embedder.fill([], [page for page in docs if page.embedding is None], chosen)
            return docs
