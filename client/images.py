"""Images that a caller hands over, to encoded bytes."""

from __future__ import annotations

import base64
import binascii
import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from colpali_serve.client.png import encode_png
from colpali_serve.schemas import InvalidPageError

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
SNIFFED = 1024
"""Bytes of a file that tell what it is."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
EXPECTED = "PNG, JPEG, WebP, TIFF, GIF, BMP or PDF"
_SHAPES = "(height, width), (height, width, 3) or (height, width, 4)"


def refuse(item: str, found: str, expected: str) -> InvalidPageError:
    """Build the error about a page.

    >>> refuse("a", "image is 0x4", "at least 1x1")
    InvalidPageError("page 'a': image is 0x4, expected at least 1x1", 'a')
    """
    return InvalidPageError(f"page '{item}': {found}, expected {expected}", item)


def open_encoded(data: bytes, item: str) -> Image.Image:
    """Read the header of an encoded image; pixels are not decoded.

    Args:
        data: A file's content.
        item: Id of the page.

    Raises:
        InvalidPageError: Empty, of no known format, or with a broken header.
    """
    if not data:
        raise refuse(item, "0 bytes", EXPECTED)
    try:
        with warnings.catch_warnings():
            # What Pillow only warns about, large images and odd tags, is for the service to judge.
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise refuse(item, f"{len(data)} bytes of no known format", EXPECTED) from None
    except Image.DecompressionBombError as error:
        raise refuse(item, f"too many pixels ({error})", "a smaller image") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise refuse(item, f"the header is broken ({error})", EXPECTED) from error


def is_pdf(data: bytes) -> bool:
    """Tell whether a file, or its first `SNIFFED` bytes, is a PDF."""
    # Readers accept bytes before the signature, and some writers put a few there.
    return b"%PDF-" in data[:SNIFFED]


def is_tiff(data: bytes) -> bool:
    """Tell whether a file, or its first bytes, is a TIFF."""
    return data.startswith(_TIFF)


def has_pages(data: bytes) -> bool:
    """Tell whether an encoded file may have several pages: a PDF, or a TIFF."""
    return is_pdf(data) or is_tiff(data)


def frames(data: bytes, item: str) -> int:
    """Count the pages of a multi-page TIFF; every other image has one."""
    image = open_encoded(data, item)
    return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


def check_pixels(image: Image.Image, most: int, item: str) -> None:
    """Refuse an image that is too large.

    Raises:
        InvalidPageError: It has more than `most` pixels.
    """
    width, height = image.size
    if width * height > most:
        raise refuse(item, f"image is {width}x{height}", f"at most {most} pixels")


def encode_frame(data: bytes, number: int, max_pixels: int, item: str) -> bytes:
    """Encode page `number`, from 0, of a multi-page TIFF as PNG.

    Raises:
        InvalidPageError: It cannot be decoded, or has more than `max_pixels` pixels.
    """
    image = open_encoded(data, item)
    try:
        image.seek(number)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise refuse(item, f"its frame is broken ({error})", "a complete TIFF") from error
    check_pixels(image, max_pixels, item)
    return encode_image(image, item)


def encode_image(image: Image.Image, item: str) -> bytes:
    """Encode a Pillow image of any mode as PNG; an EXIF rotation is applied.

    Args:
        image: Grey, colour, palette, CMYK or 16-bit grey, with or without transparency.
        item: Id of the page.

    Raises:
        InvalidPageError: It is empty, cannot be decoded, or holds floats.
    """
    width, height = image.size
    if width < 1 or height < 1:
        raise refuse(item, f"image is {width}x{height}", "at least 1x1")
    if image.mode == "F":
        raise refuse(item, "image holds floats (mode F)", "whole numbers, as in mode L or RGB")
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            # 16-bit grey has to stay so: Pillow's conversions clip it to white.
            with io.BytesIO() as file:
                image.save(file, "PNG", compress_level=1)
                return file.getvalue()
        return encode_png(np.asarray(image.convert(_mode(image))))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise refuse(item, f"image cannot be decoded ({error})", "a complete image") from error


def _mode(image: Image.Image) -> str:
    if "A" in image.getbands() or "transparency" in image.info:
        return "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"


def encode_array(pixels: NDArray[np.uint8], item: str) -> bytes:
    """Encode an array as PNG.

    Args:
        pixels: uint8 (height, width), (height, width, 3) RGB or (height, width, 4) RGBA.
        item: Id of the page.

    Raises:
        InvalidPageError: It has another dtype or shape, or no pixels.
    """
    if pixels.dtype != np.uint8:
        raise refuse(item, f"array has dtype {pixels.dtype}", "uint8")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise refuse(item, f"array has shape {pixels.shape}", _SHAPES)
    if 0 in pixels.shape:
        raise refuse(item, f"array has shape {pixels.shape}", "at least one pixel")
    return encode_png(pixels)


def decode_data_uri(uri: str, item: str) -> bytes:
    """Return what a ``data:...;base64,...`` URI carries.

    Raises:
        InvalidPageError: It is not base64.

    >>> decode_data_uri("data:image/png;base64,aGk=", "a")
    b'hi'
    """
    head, comma, payload = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        raise refuse(item, "a data URI that is not base64", "data:<type>;base64,<data>")
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error as error:
        raise refuse(item, f"a data URI with bad base64 ({error})", "base64") from error
