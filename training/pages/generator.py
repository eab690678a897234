"""Pages one after another: a kind, a size, fonts, text; then what a scanner does to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from colpali_serve.training.pages import degrade
from colpali_serve.training.pages.canvas import Box, Canvas, Style, Word
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.layouts import article, chart, form, labels, slide, table
from colpali_serve.training.pages.layouts.sheet import Sheet
from colpali_serve.training.pages.wording import Vocabulary, Wording

SIDE = 768
"""Pixels of a page as the model sees it, across and down."""

KINDS = {"article": 0.5, "slide": 0.13, "table": 0.12, "labels": 0.13, "form": 0.06, "chart": 0.06}
# Portrait and landscape A4, Letter, a square brochure; in points.
_FORMATS = ((595, 842), (595, 842), (595, 842), (612, 792), (612, 792), (842, 595), (700, 700))
_BODY_POINTS = (8, 9, 9, 10, 10, 10, 11, 11, 12, 12, 14, 16, 20, 24)
_COMMON_SHARE = 0.75
_DRAW: dict[str, Callable[[Sheet], None]] = {
    "article": article.draw,
    "slide": slide.draw,
    "table": table.draw,
    "form": form.draw,
    "chart": chart.draw,
}
"""How each kind fills a sheet, but labels, which pick a font for each."""


@dataclass(frozen=True)
class Page:
    """A page as the model sees it.

    Attributes:
        pixels: uint8 (768, 768), grey.
        words: in drawing order, boxes in pixels of the 768 x 768 image.
        kind: the layout's name.
        document: number of the document that its running text is from.
    """

    pixels: np.ndarray
    words: tuple[Word, ...]
    kind: str
    document: int


class PageMaker:
    """Draws pages.

    Args:
        vocabulary: what they say.
        fonts: what they are set in.
        seed: the same seed gives the same pages, one after the other.
        scans: share of pages that look scanned.
        degrees: scanned pages are turned by up to this much either way.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        fonts: Fonts,
        seed: int,
        *,
        scans: float = 0.25,
        degrees: float = 2.0,
    ) -> None:
        self._vocabulary = vocabulary
        self._fonts = fonts
        self._rng = random.Random(seed)
        self._scans = scans
        self._degrees = degrees

    def page(self, kind: str | None = None, points: float | None = None) -> Page:
        """The next page.

        Args:
            kind: one of :data:`KINDS`; by chance unless given.
            points: size of running text; by chance unless given.
        """
        rng = self._rng
        kind = kind or rng.choices(list(KINDS), list(KINDS.values()))[0]
        wording = Wording(rng, self._vocabulary, rng.choice([0, 0, 0, 0.3, 0.4, 1]))
        width, height = (960, 540) if kind == "slide" else rng.choice(_FORMATS)
        # Drawn larger than the model sees it, as pages are: 0.9 to 2 times.
        scale = SIDE / height * rng.uniform(0.9 if kind == "slide" else 1.0, 2.0)
        ground = rng.choice([255, 255, 255, rng.randint(225, 255)])
        canvas = Canvas(int(width * scale), int(height * scale), ground, scale)
        sheet = self._sheet(canvas, wording, points or rng.choice(_BODY_POINTS))
        if kind == "labels":
            labels.draw(sheet, self._pick)
        else:
            _DRAW[kind](sheet)
        return self._seen(canvas, kind, wording.document)

    def _pick(self) -> Path:
        common = self._rng.random() < _COMMON_SHARE or not self._fonts.rare
        return self._rng.choice(self._fonts.common if common else self._fonts.rare)

    def _sheet(self, canvas: Canvas, wording: Wording, points: float) -> Sheet:
        rng = self._rng
        ink = rng.choice([0, 0, rng.randint(0, 80)])
        font = self._pick()
        size = canvas.points(points)
        body = Style(font, size, ink, rng.uniform(1.12, 1.6), rng.random() < 0.5)
        title = Style(rng.choice([font, self._pick()]), size, ink, 1.25)
        across = rng.uniform(0.05, 0.15) * canvas.width
        down = rng.uniform(0.05, 0.12) * canvas.height
        area = Box(across, down, canvas.width - across, canvas.height - down)
        return Sheet(rng, canvas, wording, body, title, area)

    def _seen(self, canvas: Canvas, kind: str, document: int) -> Page:
        rng = self._rng
        image, words = canvas.image, canvas.words
        scanned = rng.random() < self._scans
        if scanned and rng.random() < 0.6:
            degrees = rng.uniform(-self._degrees, self._degrees)
            image, words = degrade.skewed(image, words, degrees, canvas.background)
        if rng.random() < (0.5 if scanned else 0.1):
            radius = rng.uniform(0.2, 0.6) * canvas.height / SIDE
            image = degrade.blurred(image, radius)
        filters = (Image.Resampling.BICUBIC, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
        image = image.resize((SIDE, SIDE), rng.choice(filters))
        if scanned:
            image = self._scanned(image)
        pixels = np.asarray(image)
        if rng.random() < 0.06:
            pixels = 255 - pixels
        placed = _scaled(words, SIDE / canvas.width, SIDE / canvas.height)
        return Page(pixels, placed, kind, document)

    def _scanned(self, image: Image.Image) -> Image.Image:
        rng = self._rng
        pixels = np.asarray(image, np.float32)
        if rng.random() < 0.4:
            pixels = degrade.shadowed(rng, pixels)
        if rng.random() < 0.7:
            pixels = degrade.noisy(rng, pixels, rng.uniform(2, 16))
        grey = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        return degrade.compressed(grey, rng.randint(35, 90)) if rng.random() < 0.6 else grey


def _scaled(words: Sequence[Word], x: float, y: float) -> tuple[Word, ...]:
    return tuple(
        Word(word.left * x, word.top * y, word.right * x, word.bottom * y, word.text)
        for word in words
    )
