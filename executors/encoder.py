"""ColPaliEncoder: pages and queries to embeddings."""

# No `from __future__ import annotations`: Jina reads the endpoints' document classes from them.
import asyncio
from collections.abc import Sequence
from typing import Any

from docarray import DocList
from jina import Executor, requests

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.executors.boundary import boundary
from colpali_serve.executors.counts import check_count, check_score_counts
from colpali_serve.executors.metrics import observer
from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    PAGES_PUT,
    SCORE,
    ColPaliError,
    ConfigError,
    EncodeParameters,
    InvalidQueryError,
    ModelLoadError,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    ScoreParameters,
    StoreParameters,
    describe,
    owner,
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
            await self._embed([], docs, chosen)
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
            await self._embed(docs, [], chosen)
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
            await self._embed(queries, pages, chosen)
            for doc in docs:
                for item in (*doc.queries, *doc.pages):
                    item.image = None
                for page in doc.pages:
                    page.url = None
            return docs

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
            await self._embed([], [page for page in docs if page.embedding is None], chosen)
            return docs

    async def _embed(
        self, queries: Sequence[QueryDoc], pages: Sequence[PageDoc], chosen: EncodeParameters
    ) -> None:
        """Fill the documents; all of them wait in the queue together, or none does."""
        docs: list[QueryDoc | PageDoc] = []
        inputs: list[ImageInput | TextInput] = []
        for query in queries:
            entry = _query_input(query)
            if isinstance(entry, InvalidQueryError):
                self._fill(query, entry, chosen)
            else:
                docs.append(query)
                inputs.append(entry)
        for page in pages:
            docs.append(page)
            inputs.append(ImageInput(str(page.id), page.image, page.url))
            page.image = page.url = page.grid = page.scale = None
        for doc, result in zip(docs, await self._results(inputs, chosen), strict=True):
            self._fill(doc, result, chosen)

    async def _results(
        self, inputs: Sequence[ImageInput | TextInput], chosen: EncodeParameters
    ) -> list[Encoded | ColPaliError]:
        if not inputs:
            return []
        dtype = chosen.embedding_dtype or self._encoder.settings.embedding_dtype
        futures = self._encoder.submit(inputs, chosen.pool_factor, dtype)

        async def result(future: Any) -> Encoded | ColPaliError:
            found: Encoded | ColPaliError = await asyncio.wrap_future(future)
            if chosen.on_error == "raise" and isinstance(found, ColPaliError):
                raise found
            return found

        try:
            return await asyncio.gather(*map(result, futures))
        finally:
            # An error, or the caller went away: what is not done yet is not wanted any more.
            gone = [future for future in futures if future.cancel()]
            if gone:
                self._encoder.forget_cancelled()

    def _fill(
        self, doc: PageDoc | QueryDoc, result: Encoded | ColPaliError, chosen: EncodeParameters
    ) -> None:
        # What stood there came from the caller, or from an Executor before this one.
        doc.embedding = doc.error = None
        if isinstance(result, Encoded):
            doc.embedding = result.embedding
            if isinstance(doc, PageDoc):
                doc.scale = result.scale
                doc.grid = None if result.grid is None else list(result.grid)
            return
        if chosen.on_error == "raise":
            raise result
        if result.__cause__ is not None:
            self.logger.error(f"{result!r}", exc_info=result.__cause__)
        doc.error = describe(result)


def _query_input(query: QueryDoc) -> ImageInput | TextInput | InvalidQueryError:
    item, text, image = str(query.id), query.text, query.image
    query.image = None
    if (text is None) == (image is None):
        found = "neither text nor image" if text is None else "text and an image"
        return InvalidQueryError(f"{owner('query', item)}: has {found}, expected one of them", item)
    return TextInput(item, text) if text is not None else ImageInput(item, image, kind="query")
