"""Blank margins of pages: paper that costs patches and shows nothing.

A model that squeezes every page into one square sees print as large as the page leaves room for.
Without the paper around it, print is seen a tenth taller and a quarter wider, for nothing. Wide
pages, slides mostly, stay whole: their print is large already, and larger still is read worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RULE = 1
"""Part of fingerprints: whoever changes what is cut raises it."""
# A page is looked at in cells, about so many along its shorter side: noise evens out within one,
# the thinnest print does not.
_CELLS = 384
# Grey values by which a cell differs from paper where something is, and how many such cells a row
# or a column of them has at least: one alone is dust.
_INK, _LEAST_INK = 24, 2
# Grey values that count as one when paper is looked for.
_SHADE = 8
# Paper that stays around, in shares of the page's height and width.
_AROUND = 0.012
# What is kept is at least this share of either: a page with one word is not filled by it.
_LEAST_KEPT = 0.5


@dataclass(frozen=True)
class Box:
    """A part of a page, in shares of its width and height: (0, 0, 1, 1) is all of it.

    Attributes:
        left: In [0, 1), counted from the left.
        top: In [0, 1), counted from the top.
        right: In (left, 1].
        bottom: In (top, 1].
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0


WHOLE = Box()


def inside_margins(image: Image.Image) -> Box:
    """Find the part of a page that something is printed on, with a little paper around.

    Paper is the grey that most of the page's edge has, light or dark. Where a picture runs to an
    edge, or a scanner left one black, there is no margin and nothing is cut.

    Args:
        image: Grey or RGB.

    Returns:
        At least half of the page either way; all of one that is wider than high, or empty.
    """
    if image.width > image.height:
        return WHOLE
    cells = _cells(image)
    edge = np.concatenate([cells[[0, -1]].reshape(-1), cells[:, [0, -1]].reshape(-1)])
    paper = (float(np.bincount(edge // _SHADE).argmax()) + 0.5) * _SHADE
    ink = np.abs(cells - paper) > _INK
    top, bottom = _span(ink.sum(1))
    left, right = _span(ink.sum(0))
    return Box(left, top, right, bottom)


def cut(image: Image.Image, box: Box) -> Image.Image:
    """Return the part of a page that a box says, in whole pixels."""
    if box == WHOLE:
        return image
    return image.crop(pixels(image.size, box))


def pixels(size: tuple[int, int], box: Box) -> tuple[int, int, int, int]:
    """Return a box in whole pixels of an image of a size (width, height), none cut through.

    >>> pixels((100, 50), Box(0.25, 0.5, 0.75, 1.0))
    (25, 25, 75, 50)
    """
    width, height = size
    left, top = int(box.left * width), int(box.top * height)
    right, bottom = math.ceil(box.right * width), math.ceil(box.bottom * height)
    return left, top, min(right, width), min(bottom, height)


def _cells(image: Image.Image) -> NDArray[np.int64]:
    """Mean grey of each cell: whole numbers (rows, columns) in 0..255."""
    factor = max(1, min(image.size) // _CELLS)
    return np.asarray(image.reduce(factor).convert("L"), np.int64)


def _span(ink: NDArray[np.int64]) -> tuple[float, float]:
    """From where to where there is ink, in shares, with paper around."""
    (places,) = np.nonzero(ink >= _LEAST_INK)
    if not len(places):
        return 0.0, 1.0
    first, last = places[0] / len(ink) - _AROUND, (places[-1] + 1) / len(ink) + _AROUND
    missing = max(0.0, _LEAST_KEPT - (last - first)) / 2
    first, last = first - missing, last + missing
    # What would lie beyond one edge is kept at the other.
    first, last = first - max(0.0, last - 1), last + max(0.0, -first)
    return float(max(first, 0.0)), float(min(last, 1.0))
