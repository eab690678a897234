"""Heatmaps drawn over their pages, for the command line and the HTTP door alike."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from colpali_serve.client.images import open_encoded, refuse
from colpali_serve.schemas import InvalidInputError

Maps = NDArray[np.float32]

_COLD, _HOT = np.array((255, 186, 48)), np.array((214, 30, 66))
_STRENGTH = 0.8
"""Opacity of the hottest colour: what is written below stays readable."""
_STEEPNESS = 1.8
"""Above 1 it keeps what is only lukewarm from colouring the page."""


def heat(maps: Maps) -> Maps:
    """Bring similarities of a query's tokens to one scale.

    What a token has in common with most of the page says nothing about a place, so each token's
    median is cold. The warmest place of all tokens is hot: a token that finds nothing stays pale
    beside one that does.

    Args:
        maps: float32 (n_tokens, rows, columns), similarities.

    Returns:
        float32 of the same shape, from 0 (cold) to 1 (hot).

    >>> heat(np.array([[[0, 0, 0.5]], [[0.2, 0.2, 1]]], np.float32)).round(2).tolist()
    [[[0.0, 0.0, 0.5]], [[0.0, 0.0, 1.0]]]
    """
    low = np.median(maps, axis=(1, 2), keepdims=True)
    high = float(maps.max(initial=-np.inf))
    spread = np.maximum(high - low, 1e-6)
    warmth: Maps = np.clip((maps - low) / spread, 0, 1).astype(np.float32)
    return warmth


def chosen(maps: Maps, own: NDArray[np.bool_], token: int | None) -> Maps:
    """Return one token's heat, or the warmest of the user's own tokens at each place.

    Args:
        maps: float32 (n_tokens, rows, columns), similarities.
        own: bool (n_tokens,), true for pieces of the user's text.
        token: Index; None takes all of them.

    Returns:
        float32 (rows, columns), from 0 to 1.

    Raises:
        InvalidInputError: There is no such token, or none at all.
    """
    if token is None and not own.any():
        raise InvalidInputError("the query has no tokens of text, expected at least one", "token")
    if token is not None and not 0 <= token < len(maps):
        raise InvalidInputError(f"token is {token}, expected 0 to {len(maps) - 1}", "token")
    warmth: Maps = heat(maps[own]).max(axis=0) if token is None else heat(maps)[token]
    return warmth


def draw(page: Image.Image, warmth: Maps) -> Image.Image:
    """Colour a page where it is hot.

    Args:
        page: The page, RGB.
        warmth: float32 (rows, columns), from 0 to 1; stretched over the whole page.

    Returns:
        An RGB image of the page's size.
    """
    small = Image.fromarray(np.asarray(warmth, np.float32))
    scaled = np.asarray(small.resize(page.size, Image.Resampling.BICUBIC)).clip(0, 1)[..., None]
    paint = _COLD + (_HOT - _COLD) * scaled
    opacity = _STRENGTH * scaled**_STEEPNESS
    mixed = np.asarray(page, np.float32) * (1 - opacity) + paint * opacity
    return Image.fromarray(mixed.round().astype(np.uint8))


def open_page(data: bytes, item: str) -> Image.Image:
    """Decode a page as the encoder sees it: upright, RGB, on white paper.

    Args:
        data: Encoded image.
        item: Id of the page.

    Raises:
        InvalidPageError: It cannot be decoded.
    """
    try:
        image = ImageOps.exif_transpose(open_encoded(data, item))
        if image.mode.startswith("I"):
            deep = np.asarray(image, np.float32)
            image = Image.fromarray((deep * (255 / max(deep.max(), 1))).astype(np.uint8))
        if "A" in image.getbands() or "transparency" in image.info:
            layer = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise refuse(item, f"image cannot be decoded ({error})", "a complete image") from error


def encode(image: Image.Image) -> bytes:
    """Encode a drawn page as PNG."""
    with io.BytesIO() as file:
        image.save(file, "PNG", compress_level=3)
        return file.getvalue()
