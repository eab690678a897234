"""Pages of real PDFs, with the words that the PDF says are on them and where."""

from __future__ import annotations

import ctypes
import gzip
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2
from pypdfium2 import raw

from colpali_serve.training.pages import seeing
from colpali_serve.training.pages.canvas import ASCENT, DESCENT, Word
from colpali_serve.training.pages.seeing import Page
from colpali_serve.training.text.documents import tidy

KIND = "print"
# Pixels per inch that pages are printed at before the model's square takes them.
_LEAST_DPI, _MOST_DPI = 90, 200
_POINTS_PER_INCH = 72
# PDFium maps to whole pixels: on a page this large they are fine enough.
_FINE = 1 << 20
_UPRIGHT = math.radians(1)
_BROKEN = "\x02"
"""What PDFium has, letter by letter, in place of a hyphen at the end of a line."""
# Less text says nothing; of more than this share of foreign words the reader knows no letters.
_LEAST_WORDS, _FOREIGN_SHARE = 30, 0.1


@dataclass(frozen=True)
class Print:
    """One page of a PDF: its file, gzipped or not, and its place counted from 0."""

    path: Path
    index: int


def chosen(rng: random.Random, paths: Sequence[Path], each: int, most: int) -> list[Print]:
    """Pages of some PDFs, spread evenly over each.

    Args:
        rng: which pages are left out where there are too many.
        paths: the files; one that is no PDF gives none.
        each: pages of one file, at most.
        most: pages in all, at most.
    """
    found: list[Print] = []
    for path in paths:
        document = _open(path)
        if document is None:
            continue
        pages = len(document)
        document.close()
        taken = min(each, pages)
        found += [Print(path, place * pages // taken) for place in range(taken)]
    return found if len(found) <= most else sorted(rng.sample(found, most), key=found.index)


def _open(path: Path) -> Any:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    try:
        return pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError:
        return None  # packages hold broken ones as examples


def texts(prints: Sequence[Print]) -> Iterator[tuple[Print, str]]:
    """The text of each page; those of one file are to follow each other."""
    for one, page in _pages(prints):
        found = page.get_textpage()
        yield one, str(found.get_text_bounded())
        found.close()


def drawn(rng: random.Random, prints: Sequence[Print]) -> Iterator[Page]:
    """Each page as the model sees it; pages with little or foreign text are left out.

    Args:
        rng: resolution, and what a scanner does to a page.
        prints: those of one file are to follow each other.
    """
    for _, page in _pages(prints):
        scale = rng.uniform(_LEAST_DPI, _MOST_DPI) / _POINTS_PER_INCH
        width, height = page.get_size()
        # No page fills memory, whatever size it says that it has.
        scale = min(scale, 2600 / max(width, height))
        across, down = math.ceil(width * scale), math.ceil(height * scale)
        # PDFs say words beyond their pages' edges too.
        words = [word for word in _words(page, across, down) if _within(word, across, down)]
        known = [word for word in words if word.text]
        if len(known) < _LEAST_WORDS or len(known) < (1 - _FOREIGN_SHARE) * len(words):
            continue
        image = page.render(scale=scale, grayscale=True).to_pil().convert("L")
        pixels, seen = seeing.seen(rng, image, known, 255)
        yield Page(pixels, seen, KIND, -1)


def _pages(prints: Sequence[Print]) -> Iterator[tuple[Print, Any]]:
    path, document = None, None
    try:
        for one in prints:
            if one.path != path:
                if document is not None:
                    document.close()
                path, document = one.path, _open(one.path)
            if document is None:
                continue
            page = document[one.index]
            try:
                yield one, page
            finally:
                page.close()
    finally:
        if document is not None:
            document.close()


def _words(page: Any, width: int, height: int) -> Iterator[Word]:
    """Upright words in reading order; the text is empty where it is not plain English."""
    found = page.get_textpage()
    try:
        letters: list[tuple[str, float, float, float, float]] = []
        for index in range(found.count_chars()):
            character = chr(raw.FPDFText_GetUnicode(found, index))
            if character.isspace() or character == "\0":
                yield from _word(letters)
                letters = []
                continue
            letter = _letter(page, found, index, width, height)
            if letter is None:
                continue
            # A word whose letters stand on another line or far away is another word.
            if letters and _apart(letters[-1], letter):
                yield from _word(letters)
                letters = []
            letters.append((character, *letter))
            if character == _BROKEN:
                yield from _word(letters)
                letters = []
        yield from _word(letters)
    finally:
        found.close()


def _within(word: Word, width: int, height: int) -> bool:
    return word.left >= 0 and word.top >= 0 and word.right <= width and word.bottom <= height


def _letter(
    page: Any, found: Any, index: int, width: int, height: int
) -> tuple[float, float, float, float] | None:
    """Left, right, baseline and em of a character, in pixels; None unless it stands upright."""
    angle = raw.FPDFText_GetCharAngle(found, index)
    if min(angle, 2 * math.pi - angle) > _UPRIGHT:
        return None
    left, right, bottom, top, x, y = (ctypes.c_double() for _ in range(6))
    if not raw.FPDFText_GetCharBox(found, index, left, right, bottom, top):
        return None
    raw.FPDFText_GetCharOrigin(found, index, x, y)
    matrix = raw.FS_MATRIX()
    raw.FPDFText_GetMatrix(found, index, matrix)
    em = raw.FPDFText_GetFontSize(found, index) * math.hypot(matrix.b, matrix.d)
    start, base = _pixel(page, left.value, y.value, width, height)
    end, below = _pixel(page, right.value, y.value - em, width, height)
    if end <= start or below <= base:
        return None
    return start, end, base, below - base


def _pixel(page: Any, x: float, y: float, width: int, height: int) -> tuple[float, float]:
    across, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, _FINE, _FINE, 0, x, y, across, down)
    return across.value * width / _FINE, down.value * height / _FINE


def _apart(
    last: tuple[str, float, float, float, float], letter: tuple[float, float, float, float]
) -> bool:
    _, _, end, base, em = last
    start, _, below, size = letter
    return abs(base - below) > 0.5 * em or abs(em - size) > 0.4 * em or start - end > 0.6 * em


def _word(letters: Sequence[tuple[str, float, float, float, float]]) -> Iterator[Word]:
    if not letters:
        return
    text = "".join(character for character, *_ in letters).replace(_BROKEN, "-")
    left, right = min(each[1] for each in letters), max(each[2] for each in letters)
    base, em = letters[0][3], max(each[4] for each in letters)
    shown = tidy(text)
    # Each letter's place is worked out from the word's width: as many as there are boxes.
    if len(shown) != len(letters):
        shown = ""
    yield Word(left, base - ASCENT * em, right, base + DESCENT * em, shown)
