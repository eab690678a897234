"""Pages one after another: a kind, a size, fonts, text; then what a scanner does to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from colpali_serve.training.pages import seeing
from colpali_serve.training.pages.canvas import Box, Canvas, Style
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.layouts import article, chart, form, labels, slide, table
from colpali_serve.training.pages.layouts.sheet import Sheet
from colpali_serve.training.pages.seeing import DEGREES, SCANS, SIDE, Page
from colpali_serve.training.pages.wording import Vocabulary, Wording

KINDS = {"article": 0.5, "slide": 0.13, "table": 0.12, "labels": 0.13, "form": 0.06, "chart": 0.06}
# Portrait and landscape A4, Letter, a square brochure; in points.
_FORMATS = ((595, 842), (595, 842), (595, 842), (612, 792), (612, 792), (842, 595), (700, 700))
_BODY_POINTS = (8, 9, 9, 10, 10, 10, 11, 11, 12, 12, 14, 16, 20, 24)
_COMMON_SHARE = 0.75
DRAW: dict[str, Callable[[Sheet], None]] = {
    "article": article.draw,
    "slide": slide.draw,
    "table": table.draw,
    "form": form.draw,
    "chart": chart.draw,
}
"""How each kind fills a sheet, but labels, which pick a font for each."""


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
        scans: float = SCANS,
        degrees: float = DEGREES,
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
            DRAW[kind](sheet)
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
        pixels, words = seeing.seen(
            self._rng, canvas.image, canvas.words, canvas.background, self._scans, self._degrees
        )
        return Page(pixels, words, kind, document)
