"""ColPaliEncoder: pages and queries to embeddings."""

# No `from __future__ import annotations`: Jina reads the endpoints' document classes from them.
from collections.abc import Sequence
from typing import Any

import numpy as np
from docarray import DocList
from jina import Executor, requests

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.executors.boundary import boundary
from colpali_serve.executors.counts import check_count, check_score_counts
from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
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
    describe,
    owner,
)

_JINA_ARGUMENTS = {"metas", "requests", "runtime_args", "workspace", "dynamic_batching"}


class ColPaliEncoder(Executor):
    """Embeds page images and queries with a ColPali-family model.

    Args:
        kwargs: Any setting of `EncoderSettings` (`model`, `device`, `pool_factor`, ...), as in a
            YAML's `with:`. What is not given is taken from `COLPALI_<NAME>` in the environment.

    Raises:
        ConfigError: A setting is unknown or not allowed, or the device is not there.
        ModelLoadError: The checkpoint could not be found, loaded or proved.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{key: kwargs[key] for key in kwargs if key in _JINA_ARGUMENTS})
        given = {key: value for key, value in kwargs.items() if key not in _JINA_ARGUMENTS}
        try:
            self._encoder = Encoder.load(EncoderSettings.from_environment(given))
        except (ConfigError, ModelLoadError) as error:
            self.logger.error(f"cannot start: {describe(error)}")
            raise
        loaded = self._encoder.loaded
        self.logger.info(
            f"{loaded.checkpoint.name} ({loaded.family.name}) on {loaded.device} in "
            f"{str(loaded.dtype).removeprefix('torch.')}, loaded in {loaded.seconds:.1f} s, "
            f"fingerprint {loaded.fingerprint}"
        )

    @requests(on=EMBED_IMAGES)
    def embed_images(
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
        """
        with boundary(self.logger):
            chosen = EncodeParameters.parse(parameters)
            check_count(len(docs), "pages", self._encoder.settings.max_request_items)
            self._embed_pages(docs, chosen)
            return docs

    @requests(on=EMBED_QUERIES)
    def embed_queries(
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
        """
        with boundary(self.logger):
            chosen = EncodeParameters.parse(parameters)
            check_count(len(docs), "queries", self._encoder.settings.max_request_items)
            self._embed_queries(docs, chosen)
            return docs

    @requests(on=SCORE)
    def embed_missing(
        self, docs: DocList[ScoreDoc], parameters: dict[str, Any], **_: Any
    ) -> DocList[ScoreDoc]:
        """Fill the embeddings that queries and pages to be scored do not bring along.

        Args:
            docs: Each with at least one query and one page.
            parameters: See `EncodeParameters`.

        Raises:
            InvalidInputError: As the other endpoints, and for a document without queries or pages.
            EncodingError: The model failed on an item and `on_error` is "raise".
        """
        with boundary(self.logger):
            chosen = EncodeParameters.parse(parameters)
            # Everything that can be refused is, before the first page costs anything.
            ScoreParameters.parse(parameters)
            check_score_counts(docs, self._encoder.settings.max_request_items)
            for doc in docs:
                self._embed_queries([q for q in doc.queries if q.embedding is None], chosen)
                self._embed_pages([p for p in doc.pages if p.embedding is None], chosen)
                for item in (*doc.queries, *doc.pages):
                    item.image = None
                for page in doc.pages:
                    page.url = None
            return docs

    def _embed_pages(self, pages: Sequence[PageDoc], chosen: EncodeParameters) -> None:
        inputs = [ImageInput(str(page.id), page.image, page.url) for page in pages]
        for page in pages:
            page.image = page.url = page.grid = None
        results = self._encoder.embed_images(inputs, chosen.pool_factor)
        for page, result in zip(pages, results, strict=True):
            self._fill(page, result, chosen)
            if isinstance(result, Encoded) and result.grid is not None:
                page.grid = list(result.grid)

    def _embed_queries(self, queries: Sequence[QueryDoc], chosen: EncodeParameters) -> None:
        results: dict[int, Encoded | ColPaliError] = {}
        texts: list[tuple[int, TextInput]] = []
        images: list[tuple[int, ImageInput]] = []
        for index, query in enumerate(queries):
            item = str(query.id)
            if (query.text is None) == (query.image is None):
                found = "neither text nor image" if query.text is None else "text and an image"
                results[index] = InvalidQueryError(
                    f"{owner('query', item)}: has {found}, expected one of them", item
                )
            elif query.text is not None:
                texts.append((index, TextInput(item, query.text)))
            else:
                images.append((index, ImageInput(item, query.image, kind="query")))
            query.image = None
        encoded_texts = self._encoder.embed_texts([entry for _, entry in texts])
        # A page looked for by its image keeps all its vectors: the query side is never pooled.
        encoded_images = self._encoder.embed_images([entry for _, entry in images], 1)
        results |= zip((index for index, _ in texts), encoded_texts, strict=True)
        results |= zip((index for index, _ in images), encoded_images, strict=True)
        for index, query in enumerate(queries):
            self._fill(query, results[index], chosen)

    def _fill(
        self, doc: PageDoc | QueryDoc, result: Encoded | ColPaliError, chosen: EncodeParameters
    ) -> None:
        # What stood there came from the caller, or from an Executor before this one.
        doc.embedding = doc.error = None
        if isinstance(result, Encoded):
            dtype = chosen.embedding_dtype or self._encoder.settings.embedding_dtype
            doc.embedding = result.embedding.astype(np.dtype(dtype))
            return
        if chosen.on_error == "raise":
            raise result
        if result.__cause__ is not None:
            self.logger.error(f"{result!r}", exc_info=result.__cause__)
        doc.error = describe(result)
