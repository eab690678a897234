"""Pages that look scanned: a little crooked, grey, noisy and badly compressed."""

from __future__ import annotations

import zlib
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

_MOST_SKEW = 1.2
_LEAST_SKEW = 0.3


def scan(image: bytes, seed: str) -> bytes:
    """Make a rendered page look like one that went through an office scanner.

    Args:
        image: The encoded page.
        seed: Decides skew, paper, ink, noise and quality: the same seed gives the same scan.

    Returns:
        A JPEG of the same size in pixels, grey values in three channels; 0.3 to 1.2 degrees of
        skew, noise of 4 to 9 grey levels, quality 30 to 55.
    """
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    with Image.open(BytesIO(image)) as opened:
        page = opened.convert("L")
    skew = rng.uniform(_LEAST_SKEW, _MOST_SKEW) * rng.choice((-1, 1))
    page = page.rotate(skew, Image.Resampling.BICUBIC, fillcolor=255)
    page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 0.8)))
    paper, ink = rng.uniform(225, 245), rng.uniform(20, 60)
    pixels = ink + np.asarray(page, np.float32) * ((paper - ink) / 255)
    # Light falls off towards one edge, as it does along the fold of a book.
    pixels -= np.linspace(0, rng.uniform(0, 25), pixels.shape[1], dtype=np.float32)
    pixels += rng.normal(0, rng.uniform(4, 9), pixels.shape).astype(np.float32)
    grey = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    buffer = BytesIO()
    grey.convert("RGB").save(buffer, "JPEG", quality=int(rng.integers(30, 56)))
    return buffer.getvalue()
