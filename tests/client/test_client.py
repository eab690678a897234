"""The blocking client against a service over real gRPC."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from colpali_serve.client import ColPaliClient
from colpali_serve.schemas import (
    ConfigError,
    InvalidInputError,
    InvalidPageError,
    InvalidQueryError,
    OverloadedError,
    PageDoc,
    QueryDoc,
    RemoteError,
    ServiceUnavailableError,
)
from tests.client.conftest import shade


@pytest.fixture
def page(make_page: Callable[..., Image.Image]) -> Callable[..., PageDoc]:
    """Makes a page whose name tells the service what to do."""

    def make(name: str, red: int = 0) -> PageDoc:
        file = io.BytesIO()
        make_page(red).save(file, "PNG")
        return PageDoc(id=name, image=file.getvalue())

    return make


def test_pages_keep_their_order(client: ColPaliClient, make_page: Callable[..., object]) -> None:
    pages = client.embed_pages([make_page(red) for red in range(30)])
    assert [shade(page.embedding) for page in pages] == list(range(30))
    assert [page.id for page in pages] == [f"page-{number:04}" for number in range(1, 31)]
    assert all(page.error is None for page in pages)


def test_mixed_sources(client: ColPaliClient, make_pdf: Callable[..., Path]) -> None:
    pdf = make_pdf("in/book.pdf", 10, 20)
    Image.new("RGB", (4, 4), (30, 0, 0)).save(pdf.with_name("cover.png"))
    pages = client.embed_pages([pdf.parent, np.full((2, 2, 3), (40, 0, 0), np.uint8)])
    assert [page.id for page in pages] == ["book.pdf#1", "book.pdf#2", "cover.png", "page-0002"]
    shades = [shade(page.embedding) for page in pages]
    assert shades == pytest.approx([10, 20, 30, 40], abs=3)


def test_no_pages(client: ColPaliClient) -> None:
    assert client.embed_pages([]) == []


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_embeddings_are_plain_arrays(
    client: ColPaliClient, dtype: Literal["float16", "float32"], page: Callable[..., PageDoc]
) -> None:
    (result,) = client.embed_pages(page("a", 255), embedding_dtype=dtype)
    assert result.box == (0.25, 0.0, 1.0, 0.5)
    assert type(result.embedding) is np.ndarray
    assert (result.embedding.dtype, result.embedding.shape) == (np.dtype(dtype), (2, 3))
    assert result.embedding.flags.writeable


def test_parameters_reach_the_service(client: ColPaliClient, page: Callable[..., PageDoc]) -> None:
    (result,) = client.embed_pages(page("a"), pool_factor=2)
    assert result.embedding is not None and len(result.embedding) == 1


def test_pages_travel_in_small_posts_and_two_at_a_time(
    port: int, page: Callable[..., PageDoc]
) -> None:
    client = ColPaliClient("localhost", port, batch_pages=3, max_in_flight=2)
    names = ["slow-1", "b", "c", "slow-2", "e", "f", "g", "h"]
    documents = [page(name) for name in names]
    for document in documents:
        document.tags["caller"] = "two at a time"
    pages = client.embed_pages(documents)
    # The fake service writes into `grid` how many pages came at once, and how many posts.
    assert [page.grid[0] for page in pages if page.grid] == [3, 3, 3, 3, 3, 3, 2, 2]
    assert max(page.grid[1] for page in pages if page.grid) == 2


def test_results_stream_while_pages_are_still_being_read(
    port: int, make_page: Callable[..., Image.Image]
) -> None:
    client = ColPaliClient("localhost", port, batch_pages=2, max_in_flight=2)
    taken = 0

    def source() -> Iterator[Image.Image]:
        nonlocal taken
        for taken in range(1, 101):
            yield make_page(taken)

    ahead = [taken - number for number, _ in enumerate(client.embed_pages_iter(source()))]
    assert len(ahead) == 100
    assert max(ahead) <= 3 * 2


def test_abandoned_stream(client: ColPaliClient, make_page: Callable[..., Image.Image]) -> None:
    stream = client.embed_pages_iter(make_page(red) for red in range(200))
    assert next(stream).id == "page-0001"
    stream.close()  # type: ignore[attr-defined]
    assert len(client.embed_pages(make_page(1))) == 1


def test_bad_page_of_ours_and_of_theirs(
    client: ColPaliClient, page: Callable[..., PageDoc]
) -> None:
    pages = [page("a", 1), b"broken", page("refused"), page("b", 2), "nowhere.png"]
    results = client.embed_pages(pages, on_error="keep")
    assert [result.id for result in results] == ["a", "page-0002", "refused", "b", "nowhere.png"]
    assert [result.embedding is None for result in results] == [False, True, True, False, True]
    assert str(results[1].error).startswith("InvalidPageError: page 'page-0002': 6 bytes of no k")
    assert results[2].error == "InvalidPageError: page 'refused': refused, expected another"
    with pytest.raises(InvalidPageError, match="page 'refused': refused") as info:
        client.embed_pages([page("a"), page("refused")])
    assert info.value.item == "refused"
    assert info.value.__cause__ is None and info.value.__suppress_context__


def test_only_bad_pages_need_no_service() -> None:
    client = ColPaliClient("localhost", 1, retries=0)
    (result,) = client.embed_pages(b"", on_error="keep")
    assert result.error
    with pytest.raises(InvalidPageError):
        client.embed_pages(b"")


def test_failure_without_a_class_of_ours(
    client: ColPaliClient, page: Callable[..., PageDoc]
) -> None:
    with pytest.raises(RemoteError) as info:
        client.embed_pages(page("crash"))
    assert "fake_service.py" not in f"{info.value!r}{info.value.__cause__!r}"


def test_missing_embedding(client: ColPaliClient, page: Callable[..., PageDoc]) -> None:
    with pytest.raises(RemoteError, match="'forgotten' came back without an embedding"):
        client.embed_pages(page("forgotten"))


def test_answers_in_another_order(client: ColPaliClient, page: Callable[..., PageDoc]) -> None:
    with pytest.raises(RemoteError, match=r"answered with documents \['b', 'reversed'\], expected"):
        client.embed_pages([page("reversed"), page("b")])


def test_overload_is_waited_out(client: ColPaliClient, page: Callable[..., PageDoc]) -> None:
    assert client.embed_pages(page("busy-1"))[0].embedding is not None


def test_overload_that_stays(port: int, page: Callable[..., PageDoc]) -> None:
    client = ColPaliClient("localhost", port, retries=1, backoff_s=0)
    with pytest.raises(OverloadedError, match="the queue is full"):
        client.embed_pages(page("busy-2"))


def test_deadline(port: int, page: Callable[..., PageDoc]) -> None:
    client = ColPaliClient("localhost", port, timeout_s=0.3)
    with pytest.raises(
        ServiceUnavailableError, match=f"localhost:{port} did not answer within 0.3"
    ):
        client.embed_pages(page("slow"))


def test_queries(client: ColPaliClient, make_page: Callable[..., Image.Image]) -> None:
    results = client.embed_queries(["rrg", make_page(51), QueryDoc(id="mine", text="b")])
    assert [result.id for result in results] == ["query-0001", "query-0002", "mine"]
    assert [result.text for result in results] == ["rrg", None, "b"]
    found = [result.embedding[0].tolist() for result in results if result.embedding is not None]
    assert found[0] == pytest.approx([0.02, 0.01, 0], abs=1e-3)
    assert found[1] == pytest.approx([0.2, 0, 0], abs=1e-3)
    assert found[2] == pytest.approx([0, 0, 0.01], abs=1e-3)
    assert client.embed_queries("g")[0].text == "g"


def test_query_by_page_of_a_file(client: ColPaliClient, make_pdf: Callable[..., Path]) -> None:
    (query,) = client.embed_queries(make_pdf("one.pdf", 100))
    assert query.id == "one.pdf#1"
    assert shade(query.embedding) == pytest.approx(100, abs=3)
    two = make_pdf("two.pdf", 1, 2)
    with pytest.raises(
        InvalidQueryError, match=r"query 'query-0001': has pages two\.pdf#1, two\.pdf#2"
    ):
        client.embed_queries(two)
    with pytest.raises(InvalidQueryError, match=r"nowhere\.png does not exist"):
        client.embed_queries(Path("nowhere.png"))
    good, bad = client.embed_queries(["r", two], on_error="keep")
    assert good.embedding is not None and bad.embedding is None and bad.error


def test_inside_a_running_event_loop(client: ColPaliClient, page: Callable[..., PageDoc]) -> None:
    async def cell() -> int:
        return len(client.embed_pages([page("a"), page("b")]))

    assert asyncio.run(cell()) == 2


def test_several_threads(client: ColPaliClient, make_page: Callable[..., Image.Image]) -> None:
    def work(thread: int) -> list[int]:
        pages = client.embed_pages([make_page(thread, green) for green in range(10)])
        return [shade(page.embedding) for page in pages]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [[thread] * 10 for thread in range(6)]


def test_ready(client: ColPaliClient) -> None:
    assert client.is_ready()
    client.wait_ready(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_pages": 0}, "batch_pages is 0, expected at least 1"),
        ({"max_in_flight": 0}, "max_in_flight is 0, expected at least 1"),
        ({"retries": -1}, "retries is -1, expected at least 0"),
        ({"timeout_s": 0}, "timeout_s is 0, expected more than 0"),
        ({"dpi": 0}, "dpi is 0, expected at least 1"),
    ],
)
def test_settings_are_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ColPaliClient(**settings)  # type: ignore[arg-type]


def test_parameters_are_checked_before_anything_is_sent() -> None:
    client = ColPaliClient("localhost", 1)
    with pytest.raises(InvalidInputError, match="parameter 'embedding_dtype' is 'int3'"):
        client.embed_pages_iter([], embedding_dtype="int3")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="parameter 'pool_factor' is 0"):
        client.embed_pages_iter([], pool_factor=0)
