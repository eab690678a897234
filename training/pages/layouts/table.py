"""Tables, alone on a page or within an article."""

from __future__ import annotations

from colpali_serve.training.pages.canvas import Box
from colpali_serve.training.pages.layouts.sheet import Sheet


def grid(sheet: Sheet, box: Box, columns: int, rows: int) -> float:
    """One table of words and numbers.

    Returns:
        The top of what may come below.
    """
    rng, canvas, body = sheet.rng, sheet.canvas, sheet.body
    height = body.size * rng.uniform(1.3, 2.2)
    edges = sorted(rng.uniform(0.15, 0.95) for _ in range(columns - 1))
    lefts = [box.left + edge * box.width for edge in (0.0, *edges)]
    if min(b - a for a, b in zip(lefts, [*lefts[1:], box.right], strict=True)) < 2 * body.size:
        lefts = [box.left + column * box.width / columns for column in range(columns)]
    rights = [*lefts[1:], box.right]
    ruled, numeric = rng.random() < 0.6, [rng.random() < 0.4 for _ in lefts]
    y = box.top
    for row in range(rows):
        if y + height > box.bottom:
            break
        if ruled:
            canvas.rule(box.left, y, box.right, y)
        for left, right, number in zip(lefts, rights, numeric, strict=True):
            if row and rng.random() < 0.08:
                continue
            cell = Box(left + 0.2 * body.size, y + 0.2 * body.size, right - 1, y + height)
            if number and row:
                words = [sheet.wording.code()]
            else:
                words = sheet.wording.words(rng.randint(1, 3))
            style = sheet.title if row == 0 else body
            canvas.paragraph(cell, words, style, max_lines=1)
        y += height
    return y


def draw(sheet: Sheet) -> None:
    """A page of tables with a line or two between them."""
    rng, canvas, area = sheet.rng, sheet.canvas, sheet.area
    large = sheet.title.scaled(1.6)
    y = canvas.paragraph(area, sheet.wording.heading(), large, max_lines=1) + sheet.body.size
    while y < area.bottom - 3 * sheet.body.size:
        rest = Box(area.left, y, area.right, area.bottom)
        y = grid(sheet, rest, rng.randint(2, 6), rng.randint(3, 18)) + sheet.body.size
        below = Box(area.left, y, area.right, area.bottom)
        y = canvas.paragraph(below, sheet.wording.running(rng.randint(5, 40)), sheet.body)
        y += sheet.body.size
