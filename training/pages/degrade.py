"""What scanners, cameras and files do to a page: blur, skew, noise, shadows, JPEG."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from colpali_serve.training.pages.canvas import Word


def skewed(
    image: Image.Image, words: Sequence[Word], degrees: float, background: int
) -> tuple[Image.Image, list[Word]]:
    """The page turned about its middle, each word's box moved along.

    Boxes stay upright: at two degrees a word's own slant is less than its height.

    Args:
        image: the page.
        words: what is on it.
        degrees: counter-clockwise.
        background: grey value of what comes into view.
    """
    turned = image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=background)
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    centre_x, centre_y = image.width / 2, image.height / 2
    moved = []
    for word in words:
        x = (word.left + word.right) / 2 - centre_x
        y = (word.top + word.bottom) / 2 - centre_y
        dx = cosine * x + sine * y + centre_x - (word.left + word.right) / 2
        dy = cosine * y - sine * x + centre_y - (word.top + word.bottom) / 2
        box = Word(word.left + dx, word.top + dy, word.right + dx, word.bottom + dy, word.text)
        inside = box.left >= 0 and box.right <= image.width
        if inside and box.top >= 0 and box.bottom <= image.height:
            moved.append(box)
    return turned, moved


def blurred(image: Image.Image, radius: float) -> Image.Image:
    """The page out of focus by a radius in pixels."""
    return image.filter(ImageFilter.GaussianBlur(radius))


def shadowed(rng: random.Random, pixels: np.ndarray) -> np.ndarray:
    """Uneven light, as from a book's fold: grey values (height, width) float32 in 0..255."""
    height, width = pixels.shape
    across = np.linspace(-1, 1, width, dtype=np.float32)[None] * rng.uniform(-1, 1)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * rng.uniform(-1, 1)
    light = 1 - rng.uniform(0, 0.25) * np.clip(across + down, 0, 1)
    return pixels * light


def noisy(rng: random.Random, pixels: np.ndarray, strength: float) -> np.ndarray:
    """Grain with a standard deviation of `strength` grey values."""
    noise = np.random.default_rng(rng.randrange(2**32))
    return pixels + noise.normal(0, strength, pixels.shape).astype(np.float32)


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """The page after a JPEG file of that quality."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("L")
