"""Pages and queries to embeddings, through the Flow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from colpali_serve.gateway.http.flow import FlowCaller
from colpali_serve.gateway.http.pages import Page
from colpali_serve.schemas import (
    EMBED_IMAGES,
    ColPaliError,
    InvalidInputError,
    OverloadedError,
    PageDoc,
)

_WINDOW = 16
"""Pages of one request that are in the Flow at once: enough to fill a batch, few enough to leave
room for others and to keep few images in memory."""
_PATIENCE = 20
_WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """A page and what became of it.

    Attributes:
        page: Where it comes from; its image is gone.
        doc: With embedding and grid; None where there is an error.
        error: Why there is no embedding.
    """

    page: Page
    doc: PageDoc | None
    error: ColPaliError | None = None


async def embed_as_they_come(
    flow: FlowCaller, pages: AsyncGenerator[Page, None], parameters: Mapping[str, Any]
) -> AsyncGenerator[Outcome, None]:
    """Embed pages while the next ones are read, a few at a time.

    Args:
        flow: Where they go.
        pages: May be slow.
        parameters: As the encoder expects them.

    Yields:
        One outcome a page, in order, as soon as it is there.

    Raises:
        ColPaliError: The pages cannot be read on.
    """
    tasks: asyncio.Queue[asyncio.Task[Outcome] | None] = asyncio.Queue()
    places = asyncio.Semaphore(_WINDOW)
    running: set[asyncio.Task[Outcome]] = set()

    async def start() -> None:
        try:
            async with aclosing(pages):
                async for page in pages:
                    await places.acquire()
                    task = asyncio.create_task(_embed(flow, page, parameters))
                    running.add(task)
                    task.add_done_callback(running.discard)
                    tasks.put_nowait(task)
        finally:
            tasks.put_nowait(None)

    starting = asyncio.create_task(start())
    try:
        while (task := await tasks.get()) is not None:
            yield await task
            places.release()
        await starting
    finally:
        left = [starting, *running]
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def embed_all(
    flow: FlowCaller, pages: AsyncGenerator[Page, None], parameters: Mapping[str, Any]
) -> list[Outcome]:
    """Embed pages, of which none may fail.

    Raises:
        ColPaliError: Of the first page that failed, or there is no page.
    """
    outcomes = []
    async with aclosing(embed_as_they_come(flow, pages, parameters)) as source:
        async for outcome in source:
            if outcome.error is not None:
                raise outcome.error
            outcomes.append(outcome)
    if not outcomes:
        raise InvalidInputError("the request has 0 pages, expected at least 1")
    return outcomes


async def embed_listed(
    flow: FlowCaller, pages: Sequence[Page], parameters: Mapping[str, Any]
) -> list[Outcome]:
    """Embed pages that are all there, in one request to the Flow.

    Raises:
        ColPaliError: Of the first page that failed.
    """
    docs = await flow.post(EMBED_IMAGES, [page.doc for page in pages if page.doc], parameters)
    return [Outcome(replace(page, doc=None), doc) for page, doc in zip(pages, docs, strict=True)]


async def _embed(flow: FlowCaller, page: Page, parameters: Mapping[str, Any]) -> Outcome:
    # An outcome that waits for those before it must not keep its image.
    bare = replace(page, doc=None)
    if page.doc is None:
        return Outcome(bare, None, page.error)
    patience = _PATIENCE
    while True:
        try:
            [doc] = await flow.post(EMBED_IMAGES, [page.doc], parameters)
        except OverloadedError as error:
            # The other pages of this request are among what fills the queue.
            patience -= 1
            if patience <= 0:
                return Outcome(bare, None, error)
            await asyncio.sleep(_WAIT_S)
        except ColPaliError as error:
            return Outcome(bare, None, error)
        else:
            return Outcome(bare, doc)
