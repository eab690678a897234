"""A page as the model sees it: scanned now and then, without margins, squeezed into one square."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from colpali_serve.engine.margins import WHOLE, Box, cut, inside_margins, pixels
from colpali_serve.training.pages import degrade
from colpali_serve.training.pages.canvas import Word

SIDE = 768
"""Pixels of a page as the model sees it, across and down."""

SCANS, DEGREES = 0.25, 2.0
"""Share of training pages that look scanned; those are turned by up to this much either way."""

# Share of pages whose margins stay, as a scanner's black edges make them, and how much paper may be
# left on each side of the others, in shares of the page.
_UNCUT, _LEFT_OVER = 0.1, 0.03

_FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Page:
    """A page as the model sees it.

    Attributes:
        pixels: uint8 (768, 768), grey.
        words: in reading or drawing order, boxes in pixels of the 768 x 768 image.
        kind: the layout's name, or "print" for a page of a manual.
        document: number of the document that its running text is from, -1 for a manual's page.
    """

    pixels: np.ndarray
    words: tuple[Word, ...]
    kind: str
    document: int


def seen(
    rng: random.Random,
    image: Image.Image,
    words: Sequence[Word],
    ground: int,
    scans: float = SCANS,
    degrees: float = DEGREES,
) -> tuple[np.ndarray, tuple[Word, ...]]:
    """A page's pixels and words as the model sees them.

    Args:
        rng: where the choices come from.
        image: grey, in the size that it was drawn or printed.
        words: boxes in pixels of `image`.
        ground: grey value of its paper.
        scans: share of pages that look scanned.
        degrees: scanned pages are turned by up to this much either way.

    Returns:
        uint8 (768, 768), and the words in pixels of it.
    """
    scanned = rng.random() < scans
    if scanned and rng.random() < 0.6:
        image, words = degrade.skewed(image, words, rng.uniform(-degrees, degrees), ground)
    if rng.random() < (0.5 if scanned else 0.1):
        image = degrade.blurred(image, rng.uniform(0.2, 0.6) * image.height / SIDE)
    box = _looked_at(rng, image) if rng.random() >= _UNCUT else WHOLE
    left, top, right, bottom = pixels(image.size, box)
    words = _squeezed(words, (left, top), SIDE / (right - left), SIDE / (bottom - top))
    image = cut(image, box).resize((SIDE, SIDE), rng.choice(_FILTERS))
    if scanned:
        image = _scanned(rng, image)
    values = np.asarray(image)
    if rng.random() < 0.06:
        values = 255 - values
    return values, words


def _looked_at(rng: random.Random, image: Image.Image) -> Box:
    """The part that the service would look at, and a little more."""
    found = inside_margins(image)
    more = [rng.uniform(0, _LEFT_OVER) for _ in range(4)]
    return Box(
        max(0.0, found.left - more[0]),
        max(0.0, found.top - more[1]),
        min(1.0, found.right + more[2]),
        min(1.0, found.bottom + more[3]),
    )


def _scanned(rng: random.Random, image: Image.Image) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    if rng.random() < 0.4:
        pixels = degrade.shadowed(rng, pixels)
    if rng.random() < 0.7:
        pixels = degrade.noisy(rng, pixels, rng.uniform(2, 16))
    grey = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return degrade.compressed(grey, rng.randint(35, 90)) if rng.random() < 0.6 else grey


def _squeezed(
    words: Sequence[Word], corner: tuple[int, int], x: float, y: float
) -> tuple[Word, ...]:
    """Words of a part of a page, in pixels of the square that the part becomes."""
    left, top = corner
    return tuple(
        Word(
            (word.left - left) * x,
            (word.top - top) * y,
            (word.right - left) * x,
            (word.bottom - top) * y,
            word.text,
        )
        for word in words
    )
