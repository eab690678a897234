"""The encoder's own duties: order, isolation, pooling, limits."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import EncodingError, InvalidPageError, InvalidQueryError


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def encoder(folder: Path, **more: object) -> Encoder:
    settings = {"batch_size": 4, "device": "cpu", "dtype": "float32", **more}
    return Encoder.load(EncoderSettings(model=str(folder), **settings))


@pytest.fixture
def qwen(checkpoint: Callable[[str], Path]) -> Encoder:
    return encoder(checkpoint("colqwen2"))


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
    checkpoint: Callable[[str], Path], images: list[Image.Image]
) -> None:
    running = encoder(checkpoint("colpali"), batch_size=8)
    poison = 3
    original = running.loaded.model.forward

    def fragile(**batch: torch.Tensor) -> torch.Tensor:
        # The one page that is all black, as the family's processor sees it.
        if (batch["pixel_values"].amax(dim=(1, 2, 3)) == -1).any():
            raise RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED")
        return original(**batch)

    pages = [images[i % 3] for i in range(8)]
    pages[poison] = Image.new("RGB", (50, 50), "black")
    inputs = [ImageInput(str(i), png(page)) for i, page in enumerate(pages)]
    expected = running.embed_images(inputs)
    running.loaded.model.forward = fragile
    results = running.embed_images(inputs)
    assert isinstance(results[poison], EncodingError)
    assert str(results[poison]) == "page '3': the model failed, expected an embedding"
    assert isinstance(results[poison].__cause__, RuntimeError)
    for index in set(range(8)) - {poison}:
        np.testing.assert_allclose(results[index].embedding, expected[index].embedding, atol=1e-5)


def test_out_of_memory_halves_the_batch(
    checkpoint: Callable[[str], Path], images: list[Image.Image]
) -> None:
    running = encoder(checkpoint("colpali"), batch_size=8)
    original, sizes = running.loaded.model.forward, []

    def small(**batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError
        return original(**batch)

    running.loaded.model.forward = small
    results = running.embed_images([ImageInput(str(i), png(images[0])) for i in range(8)])
    assert all(isinstance(result, Encoded) for result in results)
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


def test_a_page_too_large_for_the_device_fails_alone(
    checkpoint: Callable[[str], Path], images: list[Image.Image]
) -> None:
    running = encoder(checkpoint("colpali"))

    def never(**batch: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError

    running.loaded.model.forward = never
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
