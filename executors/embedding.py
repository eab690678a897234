"""From documents to the engine's queue, and from its results back onto the documents."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import astuple
from typing import Any

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.margins import WHOLE
from colpali_serve.executors.fetching import Fetcher
from colpali_serve.executors.inputs import query_input
from colpali_serve.schemas import (
    ColPaliError,
    EncodeParameters,
    InvalidPageError,
    InvalidQueryError,
    PageDoc,
    QueryDoc,
    describe,
)


class Embedder:
    """Embeds documents for any number of requests at once.

    Args:
        encoder: The engine's.
        fetcher: Fetches images by address; None where that is not allowed.
        logger: Is told what made the model fail.
    """

    def __init__(self, encoder: Encoder, fetcher: Fetcher | None, logger: Any) -> None:
        self._encoder, self._fetcher, self._logger = encoder, fetcher, logger

    async def fill(
        self, queries: Sequence[QueryDoc], pages: Sequence[PageDoc], chosen: EncodeParameters
    ) -> None:
        """Fill documents; all of them wait in the queue together, or none does.

        Args:
            queries: With `text` or `image`; the image leaves the document.
            pages: With `image` or `url`, which leave the document.
            chosen: Dtype, pooling, and what becomes of bad items.

        Raises:
            ColPaliError: An item is bad and `on_error` is "raise", or the queue is full.
        """
        docs: list[QueryDoc | PageDoc] = []
        inputs: list[ImageInput | TextInput] = []
        for query in queries:
            entry = query_input(query)
            if isinstance(entry, InvalidQueryError):
                self._put(query, entry, chosen)
            else:
                docs.append(query)
                inputs.append(entry)
        for page in pages:
            docs.append(page)
            inputs.append(ImageInput(str(page.id), page.image, page.url))
            page.image = page.url = page.grid = page.box = page.scale = None
        for doc, result in zip(docs, await self.results(inputs, chosen), strict=True):
            self._put(doc, result, chosen)

    async def results(
        self, inputs: Sequence[ImageInput | TextInput], chosen: EncodeParameters
    ) -> list[Encoded | ColPaliError]:
        """Embed inputs.

        Args:
            inputs: Images, some by address perhaps, and texts.
            chosen: As for `fill`.

        Returns:
            Embeddings or errors, in order.

        Raises:
            ColPaliError: As `fill`.
        """
        if not inputs:
            return []
        dtype = chosen.embedding_dtype or self._encoder.settings.embedding_dtype
        async with AsyncExitStack() as held:
            entries: Sequence[ImageInput | TextInput | InvalidPageError] = inputs
            if self._fetcher is not None:
                fetched = self._fetcher.fetched(inputs, all_or_none=chosen.on_error == "raise")
                entries = await held.enter_async_context(fetched)
            good = [entry for entry in entries if not isinstance(entry, InvalidPageError)]
            futures = self._encoder.submit(good, chosen.pool_factor, dtype)

        async def result(future: Any) -> Encoded | ColPaliError:
            found: Encoded | ColPaliError = await asyncio.wrap_future(future)
            if chosen.on_error == "raise" and isinstance(found, ColPaliError):
                raise found
            return found

        try:
            found = iter(await asyncio.gather(*map(result, futures)))
            return [e if isinstance(e, InvalidPageError) else next(found) for e in entries]
        finally:
            # An error, or the caller went away: what is not done yet is not wanted any more.
            gone = [future for future in futures if future.cancel()]
            if gone:
                self._encoder.forget_cancelled()

    def _put(
        self, doc: PageDoc | QueryDoc, result: Encoded | ColPaliError, chosen: EncodeParameters
    ) -> None:
        # What stood there came from the caller, or from an Executor before this one.
        doc.embedding = doc.error = None
        if isinstance(result, Encoded):
            doc.embedding = result.embedding
            if isinstance(doc, PageDoc):
                doc.scale = result.scale
                doc.grid = None if result.grid is None else list(result.grid)
                doc.box = None if result.box == WHOLE else list(astuple(result.box))
            return
        if chosen.on_error == "raise":
            raise result
        if result.__cause__ is not None:
            self._logger.error(f"{result!r}", exc_info=result.__cause__)
        doc.error = describe(result)
