"""The encoder's own duties: order, isolation, pooling, many callers at once, its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.schemas import (
    EncodingError,
    InvalidPageError,
    InvalidQueryError,
    ServiceUnavailableError,
)
from tests.checkpoints import FAMILIES
from tests.engine.batches import SETTINGS
from tests.engine.inputs import page_inputs, png, text_inputs
from tests.engine.noting import AllPrepared, Noted
from tests.engine.standins import TIMEOUT_S

Start = Callable[..., Encoder]


@pytest.fixture
def qwen(start: Start) -> Encoder:
    return start("colqwen2")


def test_bad_pages_keep_their_place_among_good_ones(
    qwen: Encoder, images: list[Image.Image]
) -> None:
    good = [ImageInput(f"good-{i}", png(image)) for i, image in enumerate(images)]
    mixed = [
        ImageInput("text", b"not an image"),
        good[0],
        ImageInput("none"),
        ImageInput("both", b"x", "data:,"),
        good[1],
        ImageInput("thin", png(Image.new("RGB", (4020, 20)))),
        good[2],
    ]
    results = qwen.embed_images(mixed)
    lone = qwen.embed_images(good)
    for index, expected in zip((1, 4, 6), lone, strict=True):
        np.testing.assert_allclose(results[index].embedding, expected.embedding, atol=1e-5)
    for index, words in {
        0: "page 'text': image is of no known format",
        2: "page 'none': has no image",
        3: "page 'both': has an image and a url",
        5: "page 'thin': image is 4020x20, a ratio of 201:1, expected at most 200:1",
    }.items():
        assert isinstance(results[index], InvalidPageError)
        assert str(results[index]).startswith(words)


def test_a_page_that_breaks_the_model_hurts_nobody_else(
    start: Start, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start("colpali")
    poison = 3
    inner = running.loaded.model.model.model
    original = inner.get_image_features

    def fragile(pixel_values: torch.Tensor) -> object:
        # The one page that is all black, as the family's processor sees it.
        if (pixel_values.amax(dim=(1, 2, 3)) == -1).any():
            raise RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED")
        return original(pixel_values)

    pages = [images[i % 3] for i in range(8)]
    pages[poison] = Image.new("RGB", (50, 50), "black")
    inputs = page_inputs(pages)
    expected = running.embed_images(inputs)
    monkeypatch.setattr(inner, "get_image_features", fragile)
    results = running.embed_images(inputs)
    assert isinstance(results[poison], EncodingError)
    assert str(results[poison]) == "page '3': the model failed, expected an embedding"
    assert isinstance(results[poison].__cause__, RuntimeError)
    for index in set(range(8)) - {poison}:
        np.testing.assert_allclose(results[index].embedding, expected[index].embedding, atol=1e-5)


def test_out_of_memory_halves_the_batch(
    start: Start, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = AllPrepared(8)
    running = start("colpali", observer=noted, workers=1, host_threads=1)
    inner, sizes = running.loaded.model.model.model, []
    original = inner.get_image_features

    def small(pixel_values: torch.Tensor) -> object:
        sizes.append(len(pixel_values))
        assert noted.event.wait(TIMEOUT_S)
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError
        return original(pixel_values)

    inputs = page_inputs([images[i % 3] for i in range(8)])
    expected = running.embed_images(inputs[:3])
    noted.stages.clear()
    noted.event.clear()
    monkeypatch.setattr(inner, "get_image_features", small)
    futures = running.submit(inputs)
    for index, result in enumerate(future.result(TIMEOUT_S) for future in futures):
        assert isinstance(result, Encoded), result
        np.testing.assert_allclose(
            result.embedding, expected[index % 3].embedding, atol=1e-5, rtol=0
        )
    assert max(sizes) >= 5
    assert noted.counts["halved"] == sum(size > 2 for size in sizes)
    assert noted.counts["failed"] == 0
    # What did not fit is not tried again.
    assert noted.budgets[-1] < 3 * len(expected[0].embedding)
    sizes.clear()
    assert all(isinstance(result, Encoded) for result in running.embed_images(inputs))
    assert max(sizes) <= 2


def test_a_page_too_large_for_the_device_fails_alone(
    start: Start, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start("colpali")

    def never(pixel_values: torch.Tensor) -> object:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(running.loaded.model.model.model, "get_image_features", never)
    result = running.embed_images([ImageInput("a", png(images[0]))])[0]
    assert str(result) == "page 'a': the device has too little memory for it, expected an embedding"


def test_pooling_keeps_a_fraction(qwen: Encoder, images: list[Image.Image]) -> None:
    page = ImageInput("a", png(images[0]))
    (whole,), (pooled,) = qwen.embed_images([page]), qwen.embed_images([page], pool_factor=3)
    assert len(pooled.embedding) == len(whole.embedding) // 3
    assert whole.grid is not None
    assert pooled.grid is None
    np.testing.assert_allclose(np.linalg.norm(pooled.embedding, axis=1), 1, atol=1e-5)


def test_images_as_queries_report_query_errors(qwen: Encoder, images: list[Image.Image]) -> None:
    good, bad = qwen.embed_images(
        [ImageInput("q", png(images[0]), kind="query"), ImageInput("r", b"x", kind="query")]
    )
    assert isinstance(good, Encoded)
    assert isinstance(bad, InvalidQueryError)
    assert str(bad).startswith("query 'r': image is of no known format")


def test_nothing_in_nothing_out(qwen: Encoder) -> None:
    assert qwen.embed_images([]) == []
    assert qwen.embed_texts([]) == []
    assert len(qwen.embed_texts([TextInput("q", ""), TextInput("r", " ")])) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_many_callers_at_once_get_their_lone_answers(
    family: str, start: Start, images: list[Image.Image]
) -> None:
    """Also where forwards run at the same time: their families must keep nothing between them."""
    alone = start(family).loaded.family.stateful_forward
    running = start(family, workers=1 if alone else 3, host_threads=3, batch_patches=600)
    pages, texts = page_inputs(images), text_inputs(["red", "how much was it in all?", "a b c"])
    lone = [running.submit([entry])[0].result(TIMEOUT_S) for entry in (*pages, *texts)]

    def call(caller: int) -> None:
        order = np.random.default_rng(caller).permutation(6)
        futures = running.submit([(*pages, *texts)[place] for place in order])
        for place, future in zip(order, futures, strict=True):
            result, expected = future.result(TIMEOUT_S), lone[place]
            assert isinstance(result, Encoded), result
            np.testing.assert_allclose(result.embedding, expected.embedding, atol=1e-5, rtol=0)
            assert result.grid == expected.grid

    with ThreadPoolExecutor(6) as callers:
        list(callers.map(call, range(6)))


def test_a_small_queue_holds_no_caller_back(start: Start, images: list[Image.Image]) -> None:
    running = start("colpali", max_queue_items=2)
    results = running.embed_images(page_inputs([images[0]] * 7))
    assert all(isinstance(result, Encoded) for result in results)


def test_a_caller_whose_pages_end_in_an_error_leaves_nothing_behind(
    qwen: Encoder, images: list[Image.Image]
) -> None:
    def broken() -> Iterator[ImageInput]:
        yield from page_inputs(images)
        raise OSError("the scanner is gone")

    with pytest.raises(OSError, match="the scanner is gone"):
        qwen.embed_images(broken())
    assert isinstance(qwen.embed_texts([TextInput("q", "red")])[0], Encoded)


def test_its_end_is_the_end_of_its_threads(load: Callable[..., LoadedModel]) -> None:
    before = set(threading.enumerate())
    with Encoder(load("colpali"), SETTINGS) as running:
        assert isinstance(running.embed_texts([TextInput("q", "red")])[0], Encoded)
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) == before
    running.close()
    with pytest.raises(ServiceUnavailableError, match="the encoder is shutting down"):
        running.embed_texts([TextInput("q", "red")])


class SlowHost(Noted):
    """Keeps the first image with the host until a caller was refused, or was not for a second."""

    def __init__(self) -> None:
        super().__init__()
        self._refused = threading.Event()

    def took(self, stage: str, seconds: float) -> None:
        if stage == "decode":
            self._refused.wait(1)

    def refused(self, items: int) -> None:
        super().refused(items)
        self._refused.set()


def test_large_images_of_one_caller_wait_for_room(start: Start) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    pages = page_inputs([Image.fromarray(noise)] * 2)  # 0.75 MB each
    running = start("colpali", observer=SlowHost(), max_queue_mb=1)
    assert all(isinstance(result, Encoded) for result in running.embed_images(pages))
