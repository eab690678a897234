"""Encoded bytes to RGB pixels, with every check that can be made before decoding."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from colpali_serve.engine.settings import Limits
from colpali_serve.schemas import InvalidPageError

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
_EXPECTED = "expected PNG, JPEG, WebP, TIFF, GIF or BMP"
_MAX_SHOWN = 40


def decode_data_uri(url: str, owner: str, item: str, limits: Limits) -> bytes:
    """Return the bytes that a `data:` URI carries.

    Args:
        url: ``data:image/png;base64,...``; the declared type is not trusted, the bytes decide.
        owner: How errors call its owner, for example ``page 'a'``.
        item: The owner's id.
        limits: `max_image_bytes` is checked before decoding.

    Raises:
        InvalidPageError: Another scheme, not base64, or too large.
    """
    head, comma, payload = url.partition(",")
    head = head.lower()
    if not head.startswith("data:"):
        shown = url[:_MAX_SHOWN] + ("..." if len(url) > _MAX_SHOWN else "")
        raise InvalidPageError(f"{owner}: url is {shown!r}, expected a data: URI", item)
    if not comma or not head.endswith(";base64"):
        raise InvalidPageError(f"{owner}: data URI is not ';base64,', expected base64", item)
    check_bytes(len(payload) * 3 // 4, owner, item, limits)
    try:
        return base64.b64decode(payload, validate=True)
    except ValueError as error:  # binascii.Error, or characters beyond ASCII
        raise InvalidPageError(f"{owner}: data URI has bad base64 ({error})", item) from None


def check_bytes(size: int, owner: str, item: str, limits: Limits) -> None:
    """Refuse an encoded image of more than `max_image_bytes`."""
    if size > limits.max_image_bytes:
        raise InvalidPageError(
            f"{owner}: image has {size} bytes, expected at most {limits.max_image_bytes}", item
        )


def decode_image(data: bytes, owner: str, item: str, limits: Limits) -> Image.Image:
    """Decode one page.

    The header is read first: format, size and pixel count are refused before memory is spent.
    Transparency is laid on white paper, an EXIF rotation is applied, 16-bit grey is scaled.

    Args:
        data: Encoded image.
        owner: How errors call its owner, for example ``page 'a'``.
        item: The owner's id.
        limits: `max_image_bytes` and `max_pixels`.

    Returns:
        An RGB image.

    Raises:
        InvalidPageError: Not an image, of another format, truncated, empty, of several frames,
            or larger than the limits.
    """

    def refuse(what: str) -> InvalidPageError:
        return InvalidPageError(f"{owner}: {what}", item)

    if not data:
        raise refuse(f"image is empty (0 bytes), {_EXPECTED}")
    check_bytes(len(data), owner, item, limits)
    if data.startswith(b"%PDF-"):
        raise refuse(f"image is a PDF, {_EXPECTED}; the client renders PDFs to pages")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise refuse(f"image is of no known format ({len(data)} bytes), {_EXPECTED}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # Pillow's own, far higher bound; its warning is an error only where a deployer says so.
        raise refuse(
            f"image has far too many pixels, expected at most {limits.max_pixels}"
        ) from None
    except Exception as error:  # noqa: BLE001  (hostile bytes make Pillow raise nearly anything)
        raise refuse(f"image header is broken ({_plain(error)}), {_EXPECTED}") from None

    width, height = image.size
    if width < 1 or height < 1:
        raise refuse(f"image is {width}x{height}, expected at least 1x1")
    if width * height > limits.max_pixels:
        raise refuse(
            f"image is {width}x{height} = {width * height} pixels, "
            f"expected at most {limits.max_pixels}"
        )
    try:
        if _has_more_frames(image):
            raise refuse("image has several frames, expected one; send each as a page")
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)
    except InvalidPageError:
        raise
    except Exception as error:  # noqa: BLE001
        raise refuse(f"image is truncated or broken ({_plain(error)}), {_EXPECTED}") from None


def _plain(error: Exception) -> str:
    """Pillow's own words, without anything that looks like an object's address."""
    text = str(error).split(" <", 1)[0]
    return text or type(error).__name__


def _has_more_frames(image: Image.Image) -> bool:
    # Not `n_frames`, which walks a whole file to count, in TIFF in quadratic time. The second
    # picture of an MPO, as some phones write them, is a small copy of the first.
    if image.format not in ("TIFF", "GIF", "WEBP", "PNG"):
        return False
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return False
    return True


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        # Pillow's own conversion clips at 255, which turns a 16-bit scan white.
        values = np.asarray(image, dtype=np.float32)
        largest = values.max()
        top = 65535 if image.mode.startswith("I;16") or largest > 255 else 255
        if image.mode == "F" and largest <= 1:
            top = 1
        scaled = np.clip(values * np.float32(255 / top), 0, 255).round().astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")
