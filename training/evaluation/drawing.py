"""Pages drawn to be asked about: clean, each with words of its own that training never showed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO

import numpy as np
from PIL import Image

from colpali_serve.schemas import ConfigError
from colpali_serve.training.evaluation.bm25 import words as split
from colpali_serve.training.pages.canvas import ASCENT, DESCENT, Box, Canvas, Style, Word
from colpali_serve.training.pages.degrade import skewed
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import DRAW
from colpali_serve.training.pages.layouts import labels
from colpali_serve.training.pages.layouts.picture import picture
from colpali_serve.training.pages.layouts.sheet import Sheet
from colpali_serve.training.pages.seeing import SIDE
from colpali_serve.training.pages.wording import Vocabulary, Wording

KINDS = ("labels", *DRAW)
# Portrait and landscape A4, and Letter, in points.
_FORMATS = ((595, 842), (595, 842), (612, 792), (842, 595))
_SLIDE = (960, 540)
# Of running text. On an A4 page they are 8 to 22 pixels of the model's image.
_POINTS = (9, 9, 10, 11, 12, 13, 13, 14, 16, 18, 20, 24)
# Words drawn from lists instead of the document, and how many of them are unseen ones. A slide
# has a tenth of a page's words: there most are.
_INVENTED = {"slide": 0.5}
_PLANTED = {"slide": 0.9}
# Two boxes that share more than this part of the smaller one: letters lie over letters.
_OVERLAP = 0.1
SMALLEST_EM = 8
"""Pixels per em. Smaller words, such as the small print of a form, are not asked for."""


@dataclass
class PlantedWording(Wording):
    """The text of a page, with unseen words here and there, each once.

    Attributes:
        unseen: Words that are left to be shown; taken from its end.
        share: How many of the dictionary words are unseen ones, 0 to 1.
        codes: Numbers and codes that were asked for so far.
    """

    unseen: list[str] = field(default_factory=list)
    share: float = 0.0
    codes: set[str] = field(default_factory=set)

    def word(self) -> str:
        """One unseen word, or as in training one of the dictionary or a code."""
        if self.unseen and self.rng.random() < self.share:
            return self.unseen.pop()
        return super().word()

    def code(self) -> str:
        """A number, an amount, a date, an article number, remembered."""
        made = super().code()
        self.codes.add(made)
        return made


@dataclass(frozen=True)
class DrawnPage:
    """A page as the service gets it.

    Attributes:
        kind: Name of the layout.
        width: Pixels.
        height: Pixels.
        ground: Grey value of the paper.
        image: The page as PNG, grey.
        words: In drawing order, boxes in pixels of the page.
        unseen: Those words, lower-cased, that were planted.
        codes: Those words that were made as numbers or codes.
    """

    kind: str
    width: int
    height: int
    ground: int
    image: bytes
    words: tuple[Word, ...]
    unseen: frozenset[str]
    codes: frozenset[str]

    @property
    def text(self) -> str:
        """All words, exactly."""
        return " ".join(word.text for word in self.words)

    @cached_property
    def legible(self) -> tuple[Word, ...]:
        """The words that no other word was drawn over and that are not too small."""
        boxes = np.array([(w.left, w.top, w.right, w.bottom) for w in self.words]).reshape(-1, 4)
        shared = np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - np.maximum(
            boxes[:, None, :2], boxes[:, :2]
        )
        common = shared.clip(0).prod(axis=2)
        np.fill_diagonal(common, 0)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        hidden = (common > _OVERLAP * np.minimum(areas[:, None], areas)).any(axis=1)
        return tuple(
            word
            for word, over in zip(self.words, hidden, strict=True)
            if not over and self.em(word) >= SMALLEST_EM
        )

    def asked_words(self) -> dict[str, Word]:
        """The legible unseen words, lower-cased, in drawing order."""
        found: dict[str, Word] = {}
        for word in self.legible:
            for part in split(word.text):
                if part in self.unseen:
                    found[part] = word
        return found

    def em(self, word: Word) -> float:
        """Size of a word's font in pixels per em, where all of the page is 768 pixels high."""
        return (word.bottom - word.top) / (ASCENT + DESCENT) * SIDE / self.height

    def turned(self, degrees: float) -> DrawnPage:
        """The same page turned counter-clockwise, without the words that left it."""
        with Image.open(BytesIO(self.image)) as upright:
            image, words = skewed(upright, self.words, degrees, self.ground)
        return replace(self, image=_png(image), words=tuple(words))


def draw_page(
    kind: str,
    seed: int,
    vocabulary: Vocabulary,
    fonts: Fonts,
    unseen: Sequence[str],
    *,
    photograph: bool = False,
) -> DrawnPage:
    """Draw one page without blur, noise or skew.

    Args:
        kind: One of `KINDS`.
        seed: The same seed gives the same page.
        vocabulary: What the rest of the page says.
        fonts: The page is set in its common fonts.
        unseen: Lower-case words to plant; those that found no room are not on the page.
        photograph: Give one side of the page to a picture.

    Raises:
        ConfigError: There is no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(
            f"page kind '{kind}' is unknown, expected one of {', '.join(KINDS)}", kind
        )
    rng = random.Random(seed)
    wording = PlantedWording(
        rng,
        vocabulary,
        _INVENTED.get(kind, 0.3),
        unseen=rng.sample(unseen, len(unseen)),
        share=_PLANTED.get(kind, 0.35),
    )
    width, height = _SLIDE if kind == "slide" else rng.choice(_FORMATS)
    scale = SIDE / height * rng.uniform(1.0, 1.8)
    ground = rng.choice([255, 255, rng.randint(225, 255)])
    canvas = Canvas(int(width * scale), int(height * scale), ground, scale)
    across, down = rng.uniform(0.05, 0.12) * canvas.width, rng.uniform(0.05, 0.1) * canvas.height
    area = Box(across, down, canvas.width - across, canvas.height - down)
    beside = None
    if photograph:
        area, beside = _divide(rng, area)
    font = rng.choice(fonts.common)
    size, ink = canvas.points(rng.choice(_POINTS)), rng.choice([0, 0, rng.randint(0, 80)])
    body = Style(font, size, ink, rng.uniform(1.15, 1.5), rng.random() < 0.5)
    title = Style(rng.choice([font, rng.choice(fonts.common)]), size, ink)
    sheet = Sheet(rng, canvas, wording, body, title, area)
    if kind == "labels":
        labels.draw(sheet, lambda: rng.choice(fonts.common))
    else:
        DRAW[kind](sheet)
    if beside:
        picture(rng, canvas, beside)
    shown = {part for word in canvas.words for part in split(word.text)}
    return DrawnPage(
        kind,
        canvas.width,
        canvas.height,
        ground,
        _png(canvas.image),
        tuple(canvas.words),
        frozenset(shown.intersection(unseen)),
        frozenset(wording.codes.intersection(word.text for word in canvas.words)),
    )


def _divide(rng: random.Random, area: Box) -> tuple[Box, Box]:
    """Give two fifths of an area to a picture, on either side."""
    gap, part = 0.03 * area.width, rng.uniform(0.35, 0.45) * area.width
    if rng.random() < 0.5:
        text = Box(area.left + part + gap, area.top, area.right, area.bottom)
        return text, Box(area.left, area.top, area.left + part, area.bottom)
    text = Box(area.left, area.top, area.right - part - gap, area.bottom)
    return text, Box(area.right - part, area.top, area.right, area.bottom)


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
