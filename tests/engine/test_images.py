"""Every image that a caller can send: decoded right, or refused in words."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from colpali_serve.engine.images import decode_data_uri, decode_image
from colpali_serve.engine.settings import Limits
from colpali_serve.schemas import InvalidPageError

LIMITS = Limits()


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def decode(data: bytes, limits: Limits = LIMITS) -> Image.Image:
    return decode_image(data, "page 'a'", "a", limits)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


GOOD = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_formats(form: str) -> None:
    page = decode(encode(GOOD, form))
    assert page.mode == "RGB"
    assert page.size == GOOD.size
    if form in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(np.asarray(page), np.asarray(GOOD))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_modes_become_rgb(mode: str) -> None:
    white = Image.new("RGB", (8, 8), "white").convert(mode)
    page = decode(encode(white, "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"))
    assert np.asarray(page).min() > 250


def test_transparency_lies_on_white_paper() -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    pixels = np.asarray(decode(encode(image)))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[1, 1].tolist() == [255, 255, 255]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.array([[0, 257 * 100, 65535]], np.uint16)
    pixels = np.asarray(decode(encode(Image.fromarray(ramp))))
    assert pixels[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(("dtype", "top"), [(np.float32, 1), (np.float32, 255), (np.int32, 255)])
def test_wide_numbers_keep_their_scale(dtype: type[np.number], top: int) -> None:
    ramp = np.array([[0, top]], dtype)
    pixels = np.asarray(decode(encode(Image.fromarray(ramp), "TIFF")))
    assert pixels[0, :, 0].tolist() == [0, 255]


def test_the_small_copy_in_a_phone_s_picture_is_no_second_page() -> None:
    data = encode(GOOD, "MPO", save_all=True, append_images=[GOOD.resize((15, 20))])
    assert decode(data).size == GOOD.size


def test_frames_are_not_counted() -> None:
    """A chain of ten thousand directories is refused at the second."""
    entries = b"".join(
        struct.pack("<HHII", tag, 3, 1, value)
        for tag, value in ((256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (279, 1))
    )
    size = 2 + len(entries) + 4
    count = 10_000
    data = b"II*\0" + struct.pack("<I", 9) + b"\0"
    for index in range(count):
        following = 9 + (index + 1) * size if index + 1 < count else 0
        data += struct.pack("<H", 7) + entries + struct.pack("<I", following)
    with pytest.raises(InvalidPageError, match="several frames"):
        decode(data)


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encode(GOOD, "JPEG", exif=exif)).size == (40, 30)


MANY = encode(GOOD, "TIFF", save_all=True, append_images=[GOOD, GOOD])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"hello, I am text", "no known format"),
        (b"%PDF-1.7 ...", "is a PDF.*client renders"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no known format"),
        (encode(GOOD)[:-40], "truncated or broken"),
        (encode(GOOD)[:20], "no known format|broken"),
        (encode(GOOD, "JPEG")[:300], "truncated|broken|no known format"),
        (encode(GOOD, "PPM"), "no known format"),
        (png_header(0, 10), r"0x10|header is broken|no known format"),
        (png_header(9_000, 9_000), r"9000x9000 = 81000000 pixels, expected at most 50000000"),
        (png_header(10_000, 10_000), "pixels, expected at most 50000000"),
        (png_header(2**31 - 1, 2**31 - 1), "pixels, expected at most 50000000"),
        (MANY, "several frames, expected one"),
    ],
)
def test_bad_images_are_refused_in_words(data: bytes, expected: str) -> None:
    with pytest.raises(InvalidPageError, match=expected) as caught:
        decode(data)
    assert caught.value.item == "a"
    assert caught.value.message.startswith("page 'a': ")
    assert "0x7f" not in caught.value.message  # no address of an object


def test_limits_are_settings() -> None:
    with pytest.raises(InvalidPageError, match="has 100 bytes, expected at most 99"):
        decode(b"x" * 100, Limits(max_image_bytes=99))
    with pytest.raises(InvalidPageError, match="30x40 = 1200 pixels, expected at most 1199"):
        decode(encode(GOOD), Limits(max_pixels=1199))


def uri(data: bytes, head: str = "data:image/png;base64,") -> str:
    return head + base64.b64encode(data).decode()


def test_data_uri() -> None:
    assert decode_data_uri(uri(b"abc"), "page 'a'", "a", LIMITS) == b"abc"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/a.png", "expected a data: URI"),
        ("file:///etc/passwd", "expected a data: URI"),
        ("data:image/png,abc", "expected base64"),
        ("data:image/png;base64,a*c=", "bad base64"),
        ("", "expected a data: URI"),
    ],
)
def test_bad_urls_are_refused(url: str, expected: str) -> None:
    with pytest.raises(InvalidPageError, match=expected):
        decode_data_uri(url, "page 'a'", "a", LIMITS)


def test_a_large_data_uri_is_refused_before_decoding() -> None:
    with pytest.raises(InvalidPageError, match="expected at most 10"):
        decode_data_uri(uri(b"x" * 100), "page 'a'", "a", Limits(max_image_bytes=10))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damaged_files_never_raise_anything_else(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"]))
    content = bytearray(encode(GOOD, form))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        page = decode(bytes(content), Limits(max_pixels=10_000_000))
    except InvalidPageError:
        return
    assert page.mode == "RGB"
