"""Pixels and encoded images: what is sent is what was given."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from colpali_serve.client.images import encode_array, encode_image
from colpali_serve.client.png import encode_png
from colpali_serve.schemas import InvalidPageError


def decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=["PNG"])


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4), (1, 1), (300, 2, 3)])
def test_png_keeps_every_pixel(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(np.asarray(decode(encode_png(pixels))), pixels)


def test_png_of_a_view_with_strides() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    view = pixels[::2, ::-3, :3]
    assert np.array_equal(np.asarray(decode(encode_png(view))), view)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("1", "L"),
        ("L", "L"),
        ("P", "RGB"),
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
        ("LA", "RGBA"),
        ("CMYK", "RGB"),
        ("YCbCr", "RGB"),
        ("HSV", "RGB"),
    ],
)
def test_modes(mode: str, expected: str) -> None:
    image = Image.new("RGB", (3, 2), (200, 100, 50)).convert(mode)
    decoded = decode(encode_image(image, "a"))
    assert decoded.mode == expected
    assert decoded.tobytes() == image.convert(expected).tobytes()


def test_sixteen_bits_stay_sixteen_bits() -> None:
    values = np.array([[0, 256, 40000, 65535]], np.uint16)
    assert np.array_equal(np.asarray(decode(encode_image(Image.fromarray(values), "a"))), values)


def test_transparent_palette_keeps_transparency() -> None:
    image = Image.new("P", (2, 1), 0)
    image.info["transparency"] = 0
    assert decode(encode_image(image, "a")).getpixel((0, 0))[3] == 0


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (4, 2))
    image.getexif()[0x0112] = 6
    assert decode(encode_image(image, "a")).size == (2, 4)


def test_floats_are_refused() -> None:
    with pytest.raises(InvalidPageError, match="page 'a': image holds floats") as info:
        encode_image(Image.new("F", (2, 2)), "a")
    assert info.value.item == "a"


def test_truncated_image_object_is_refused() -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "PNG")
    with pytest.raises(InvalidPageError, match="page 'a': image cannot be decoded"):
        encode_image(Image.open(io.BytesIO(file.getvalue()[:1500])), "a")


def test_image_without_pixels_is_refused() -> None:
    with pytest.raises(InvalidPageError, match="page 'a': image is 0x3, expected at least 1x1"):
        encode_image(Image.new("RGB", (0, 3)), "a")


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 2), np.float32), "array has dtype float32, expected uint8"),
        (np.zeros((2, 2), np.int64), "array has dtype int64, expected uint8"),
        (np.zeros(4, np.uint8), r"array has shape \(4,\), expected \(height, width\)"),
        (np.zeros((2, 2, 2), np.uint8), r"array has shape \(2, 2, 2\)"),
        (np.zeros((1, 2, 2, 3), np.uint8), r"array has shape \(1, 2, 2, 3\)"),
        (np.zeros((0, 2), np.uint8), r"array has shape \(0, 2\), expected at least one pixel"),
    ],
)
def test_arrays_that_are_no_pages(pixels: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidPageError, match=f"page 'a': {message}"):
        encode_array(pixels, "a")
