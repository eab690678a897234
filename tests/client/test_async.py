"""The asynchronous client: the same answers, and an event loop that stays free."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from colpali_serve.client import AsyncColPaliClient, ColPaliClient
from colpali_serve.schemas import InvalidPageError, PageDoc
from tests.client.conftest import shade


@pytest.fixture
def run(port: int) -> Callable[..., Any]:
    """Runs a coroutine function with a client, in an event loop of its own."""

    def call(work: Callable[[AsyncColPaliClient], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run(work(AsyncColPaliClient("localhost", port)))

    return call


def slow_page() -> PageDoc:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    return PageDoc(id="slow", image=file.getvalue())


def test_same_answers_as_the_blocking_client(
    run: Callable[..., Any], client: ColPaliClient, make_pdf: Callable[..., Path]
) -> None:
    pdf = make_pdf("book.pdf", 10, 120, 240)
    queries = ["rr", "g"]

    async def work(other: AsyncColPaliClient) -> None:
        assert await other.is_ready()
        await other.wait_ready(1)
        pages = await other.embed_pages(pdf)
        streamed = [page async for page in other.embed_pages_iter(pdf)]
        for mine, theirs, ours in zip(pages, streamed, client.embed_pages(pdf), strict=True):
            assert mine.id == theirs.id == ours.id
            assert np.array_equal(mine.embedding, theirs.embedding)  # type: ignore[arg-type]
            assert np.array_equal(mine.embedding, ours.embedding)  # type: ignore[arg-type]
        assert [query.text for query in await other.embed_queries(queries)] == queries
        assert np.array_equal(await other.score(queries, pdf), client.score(queries, pdf))
        assert await other.rank(queries, pages, 2) == client.rank(queries, pdf, 2)

    run(work)


def test_calls_run_side_by_side_and_leave_the_loop_free(
    run: Callable[..., Any], make_page: Callable[..., Image.Image]
) -> None:
    async def work(client: AsyncColPaliClient) -> list[str]:
        finished: list[str] = []

        async def call(name: str, pages: list[Any]) -> None:
            await client.embed_pages(pages)
            finished.append(name)

        await asyncio.gather(
            call("slow", [slow_page()]), *(call("quick", [make_page(n)]) for n in range(5))
        )
        return finished

    assert run(work) == ["quick"] * 5 + ["slow"]


def test_cancelled_call(run: Callable[..., Any], make_page: Callable[..., Image.Image]) -> None:
    async def work(client: AsyncColPaliClient) -> int:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.embed_pages([slow_page()] * 20), 0.3)
        return len(await client.embed_pages(make_page(1)))

    assert run(work) == 1


def test_abandoned_stream(run: Callable[..., Any], make_page: Callable[..., Image.Image]) -> None:
    async def work(client: AsyncColPaliClient) -> int:
        async for page in client.embed_pages_iter(make_page(red) for red in range(7, 200)):
            return shade(page.embedding)
        return -1

    assert run(work) == 7


def test_errors(run: Callable[..., Any]) -> None:
    async def work(client: AsyncColPaliClient) -> None:
        await client.embed_pages(["nowhere.pdf"])

    with pytest.raises(InvalidPageError, match=r"page 'nowhere\.pdf'"):
        run(work)
