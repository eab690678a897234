"""ColPaliEncoder as an Executor: how it is configured, refuses to start, shares itself, ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import torch
from docarray import DocList
from jina import Executor
from PIL import Image
from prometheus_client import CollectorRegistry

from colpali_serve.executors.encoder import ColPaliEncoder
from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    SCORE,
    ConfigError,
    ModelLoadError,
    OverloadedError,
    PageDoc,
    QueryDoc,
    ServiceUnavailableError,
)
from tests.conftest import ROOT
from tests.executors.posting import pages, queries

TIMEOUT_S = 60.0


class Held:
    """Keeps every batch of pages on the device until it is let go."""

    def __init__(self, encoder: ColPaliEncoder) -> None:
        self.came, self._free = threading.Semaphore(0), threading.Event()
        inner = encoder._encoder.loaded.model.model.model
        see = inner.get_image_features

        def held(pixel_values: torch.Tensor) -> Any:
            self.came.release()
            assert self._free.wait(TIMEOUT_S)
            return see(pixel_values)

        inner.get_image_features = held

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.came.acquire, timeout=TIMEOUT_S)

    def let_go(self) -> None:
        self._free.set()


@pytest.fixture
def start(checkpoint: Callable[[str], Path]) -> Iterator[Callable[..., ColPaliEncoder]]:
    """Executors over a tiny ColPali, closed when the test ends."""
    with ExitStack() as stack:

        def get(**settings: Any) -> ColPaliEncoder:
            given = {"model": str(checkpoint("colpali")), "device": "cpu", "batch_patches": 1}
            return stack.enter_context(closing(ColPaliEncoder(**given, **settings)))

        yield get


def test_loads_from_config_with_the_bundled_checkpoint() -> None:
    with closing(Executor.load_config(str(ROOT / "config.yml"))) as encoder:
        assert isinstance(encoder, ColPaliEncoder)
        assert encoder.metas.name == "ColPaliEncoder"
        assert {EMBED_IMAGES, EMBED_QUERIES, SCORE} <= set(encoder.requests)
        docs = DocList[QueryDoc]([QueryDoc(text="red")])
        found = asyncio.run(encoder.embed_queries(docs, parameters={}))
        assert found[0].embedding.shape[1] == 128


def test_settings_come_from_yaml_over_the_environment(
    start: Callable[..., ColPaliEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLPALI_MODEL", "./nothing")
    monkeypatch.setenv("COLPALI_POOL_FACTOR", "3")
    assert start()._encoder.settings.pool_factor == 3


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"modell": "x"}, ConfigError, "setting 'modell' is unknown"),
        ({"model": "./nothing"}, ModelLoadError, "no such folder"),
        ({"batch_size": 0}, ConfigError, "setting 'batch_size' is 0"),
    ],
)
def test_refuses_to_start_in_words(
    settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ColPaliEncoder(**settings)


def test_requests_are_on_the_device_side_by_side(
    start: Callable[..., ColPaliEncoder], images: list[Image.Image]
) -> None:
    encoder = start(workers=2)
    held = Held(encoder)

    async def both() -> list[DocList[PageDoc]]:
        calls = [encoder.embed_images(pages(images[:1]), parameters={}) for _ in range(2)]
        asked = asyncio.gather(*calls)
        await held.wait()
        await held.wait()  # the second request's page, while the first one's is still there
        held.let_go()
        return await asked

    for docs in asyncio.run(both()):
        assert docs[0].embedding is not None


def test_a_caller_that_goes_away_leaves_the_queue(
    start: Callable[..., ColPaliEncoder], images: list[Image.Image]
) -> None:
    registry = CollectorRegistry()
    encoder = start(workers=1, runtime_args={"metrics_registry": registry})
    held = Held(encoder)

    async def go_away() -> None:
        call = asyncio.ensure_future(encoder.embed_images(pages(images * 2), parameters={}))
        await held.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(go_away())
    held.let_go()
    found = asyncio.run(encoder.embed_images(pages(images[:1]), parameters={}))
    assert found[0].embedding is not None
    assert registry.get_sample_value("colpali_queue_items") == 0
    # Before it only the one of six that was on the device already.
    assert registry.get_sample_value("colpali_batch_items_sum", {"kind": "page"}) == 2


def test_what_has_no_room_is_refused_whole(
    start: Callable[..., ColPaliEncoder], images: list[Image.Image]
) -> None:
    encoder = start(workers=1, max_queue_items=3)
    held = Held(encoder)

    async def overload() -> DocList[PageDoc]:
        call = asyncio.ensure_future(encoder.embed_images(pages(images), parameters={}))
        await held.wait()
        for keep in ("raise", "keep"):  # it is no fault of an item
            with pytest.raises(OverloadedError, match="expected at most 3 of") as caught:
                await encoder.embed_queries(queries("a", "b"), parameters={"on_error": keep})
            assert type(caught.value).__name__ == "OverloadedError"
        held.let_go()
        return await call

    assert all(page.embedding is not None for page in asyncio.run(overload()))


def test_closing_tells_who_waits(
    start: Callable[..., ColPaliEncoder], images: list[Image.Image]
) -> None:
    encoder = start(workers=1)
    held = Held(encoder)

    async def end() -> None:
        call = asyncio.ensure_future(encoder.embed_images(pages(images), parameters={}))
        await held.wait()
        closed = asyncio.get_running_loop().run_in_executor(None, encoder.close)
        with pytest.raises(ServiceUnavailableError, match="the encoder is shutting down"):
            await call
        held.let_go()
        await closed

    asyncio.run(end())


@pytest.mark.parametrize("on_error", ["raise", "keep"])
def test_the_first_bad_item_ends_its_request_unless_it_is_kept(
    on_error: str, start: Callable[..., ColPaliEncoder], images: list[Image.Image]
) -> None:
    encoder = start()
    docs = DocList[PageDoc]([*pages(images), PageDoc(id="bad", image=b"x")])
    call = encoder.embed_images(docs, parameters={"on_error": on_error})
    if on_error == "raise":
        with pytest.raises(Exception, match="page 'bad': image is of no known format"):
            asyncio.run(call)
    else:
        *good, bad = asyncio.run(call)
        assert all(page.embedding is not None for page in good)
        assert bad.error.startswith("InvalidPageError: page 'bad'")
