"""A grey page that remembers where each word was drawn."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image, ImageDraw

from colpali_serve.training.pages import fonts

# From the baseline, in ems: what an average line of Latin letters covers.
ASCENT, DESCENT = 0.74, 0.20
SMALLEST_PX = 6


@dataclass(frozen=True, slots=True)
class Word:
    """A drawn word and its box: left, top, right, bottom, in pixels of the page."""

    left: float
    top: float
    right: float
    bottom: float
    text: str


@dataclass(frozen=True, slots=True)
class Style:
    """How words are set.

    Attributes:
        font: path of the font.
        size: pixels per em.
        ink: grey value, 0 black to 255 white.
        leading: distance of baselines in ems.
        justified: whether lines fill the width.
    """

    font: Path
    size: int
    ink: int
    leading: float = 1.25
    justified: bool = False

    def scaled(self, factor: float) -> Style:
        """The same style in another size."""
        return replace(self, size=max(SMALLEST_PX, round(self.size * factor)))


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Pixels across."""
        return self.right - self.left

    def inset(self, by: float) -> Box:
        """The rectangle that lies `by` pixels within."""
        return Box(self.left + by, self.top + by, self.right - by, self.bottom - by)


def readable_ink(rng: random.Random, background: int) -> int:
    """A grey value that can be read on a background."""
    return rng.randint(0, 60) if background > 128 else rng.randint(200, 255)


@dataclass
class Canvas:
    """One page while it is drawn.

    Attributes:
        width: pixels.
        height: pixels.
        background: grey value.
        pixels_per_point: scale, so that sizes can be given in points.
    """

    width: int
    height: int
    background: int
    pixels_per_point: float
    words: list[Word] = field(default_factory=list)
    image: Image.Image = field(init=False)
    draw: ImageDraw.ImageDraw = field(init=False)

    def __post_init__(self) -> None:
        self.image = Image.new("L", (self.width, self.height), self.background)
        self.draw = ImageDraw.Draw(self.image)

    def points(self, points: float) -> int:
        """A length in points as pixels, at least what can be drawn as text."""
        return max(SMALLEST_PX, round(points * self.pixels_per_point))

    def rule(self, left: float, top: float, right: float, bottom: float, ink: int = 128) -> None:
        """A line."""
        thickness = max(1, round(0.7 * self.pixels_per_point))
        self.draw.line((left, top, right, bottom), fill=ink, width=thickness)

    def shade(self, box: Box, fill: int | None, outline: int | None = None) -> None:
        """A rectangle, filled, outlined or both."""
        thickness = max(1, round(self.pixels_per_point))
        edges = (box.left, box.top, max(box.left, box.right), max(box.top, box.bottom))
        self.draw.rectangle(edges, fill=fill, outline=outline, width=thickness)

    def word(self, x: float, baseline: float, text: str, style: Style) -> float:
        """Draw one word and remember its box.

        Returns:
            Its width in pixels.
        """
        width = fonts.width(style.font, style.size, text)
        font = fonts.load(style.font, style.size)
        self.draw.text((x, baseline), text, font=font, fill=style.ink, anchor="ls")
        top, bottom = baseline - ASCENT * style.size, baseline + DESCENT * style.size
        if x >= 0 and top >= 0 and x + width <= self.width and bottom <= self.height:
            self.words.append(Word(x, top, x + width, bottom, text))
        return width

    def line(self, x: float, baseline: float, texts: Sequence[str], style: Style) -> float:
        """Draw words on one line.

        Returns:
            Where the line ends.
        """
        gap = fonts.width(style.font, style.size, " ") or style.size / 4
        for text in texts:
            x += self.word(x, baseline, text, style) + gap
        return x - gap

    def paragraph(
        self, box: Box, texts: Sequence[str], style: Style, max_lines: int = 10_000
    ) -> float:
        """Break words into lines that fit a box. Words wider than the box are left out.

        Returns:
            The top of what may come below.
        """
        gap = fonts.width(style.font, style.size, " ") or style.size / 4
        y = box.top + 0.8 * style.size
        lines = 0
        line: list[str] = []
        used = 0.0

        def flush(last: bool) -> None:
            nonlocal y, lines, line, used
            if not line:
                return
            space = gap
            if style.justified and not last and len(line) > 1:
                space += (box.width - used - gap * (len(line) - 1)) / (len(line) - 1)
            x = box.left
            for text in line:
                x += self.word(x, y, text, style) + space
            y += style.leading * style.size
            lines += 1
            line, used = [], 0.0

        for text in texts:
            width = fonts.width(style.font, style.size, text)
            if width > box.width:
                continue
            if line and used + gap * len(line) + width > box.width:
                flush(last=False)
                if y + DESCENT * style.size > box.bottom or lines >= max_lines:
                    return y - 0.8 * style.size
            line.append(text)
            used += width
        flush(last=True)
        return y - 0.8 * style.size
