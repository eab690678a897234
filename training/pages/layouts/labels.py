"""Words scattered over shapes: maps, diagrams, screenshots, posters; every font and size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from colpali_serve.training.pages import fonts
from colpali_serve.training.pages.canvas import Box, Style, readable_ink
from colpali_serve.training.pages.layouts.sheet import Sheet

_CELLS = 48
# The smallest and largest size in points of one page.
_RANGES = ((8, 14), (8, 11), (9, 20), (12, 36), (16, 60))


def draw(sheet: Sheet, pick: Callable[[], Path]) -> None:
    """Scatter labels where there is room and the ground is even.

    Args:
        sheet: the page.
        pick: a font for the next label.
    """
    rng, canvas = sheet.rng, sheet.canvas
    for _ in range(rng.randint(1, 6)):
        x, y = rng.uniform(0, canvas.width), rng.uniform(0, canvas.height)
        right = x + rng.uniform(0.05, 0.5) * canvas.width
        bottom = y + rng.uniform(0.03, 0.4) * canvas.height
        canvas.shade(Box(x, y, right, bottom), rng.randint(0, 255))
    taken = np.zeros((_CELLS, _CELLS), bool)
    smallest, largest = rng.choice(_RANGES)
    for _ in range(rng.randint(40, 250)):
        size = canvas.points(smallest * (largest / smallest) ** rng.random())
        _place(sheet, taken, pick(), size, sheet.wording.words(rng.choice([1, 1, 2, 3])))


def _place(sheet: Sheet, taken: np.ndarray, font: Path, size: int, words: list[str]) -> None:
    rng, canvas = sheet.rng, sheet.canvas
    length = fonts.width(font, size, " ".join(words))
    if length > 0.95 * canvas.width:
        return
    x = rng.uniform(0, canvas.width - length)
    y = rng.uniform(size, canvas.height - 0.3 * size)
    rows = slice(
        max(0, int((y - 0.85 * size) / canvas.height * _CELLS)),
        int((y + 0.3 * size) / canvas.height * _CELLS) + 1,
    )
    columns = slice(int(x / canvas.width * _CELLS), int((x + length) / canvas.width * _CELLS) + 1)
    if taken[rows, columns].any():
        return
    behind = canvas.image.crop(
        (int(x), max(0, int(y - 0.8 * size)), int(x + length) + 1, int(y + 0.25 * size) + 1)
    )
    # A pair of numbers, for an image of one band.
    darkest, lightest = (int(grey) for grey in behind.getextrema())  # type: ignore[arg-type]
    ground = (darkest + lightest) // 2
    if lightest - darkest > 60 or 85 < ground < 170:
        return
    taken[rows, columns] = True
    canvas.line(x, y, words, Style(font, size, readable_ink(rng, ground)))
