"""Invoices and forms: labels, values, addresses, sums."""

from __future__ import annotations

from colpali_serve.training.pages.canvas import Box
from colpali_serve.training.pages.layouts.sheet import Sheet
from colpali_serve.training.pages.layouts.table import grid


def draw(sheet: Sheet) -> None:
    """An address, fields with boxes or dotted lines, positions with amounts, small print."""
    rng, canvas, area, body = sheet.rng, sheet.canvas, sheet.area, sheet.body
    middle = (area.left + area.right) / 2
    y = area.top + body.size
    for _ in range(rng.randint(2, 5)):
        canvas.line(area.left, y, sheet.wording.words(rng.randint(1, 4)), body)
        if rng.random() < 0.7:
            label = sheet.wording.words(1)
            end = canvas.line(middle, y, label, sheet.title)
            canvas.line(end + body.size, y, [sheet.wording.code()], body)
        y += body.leading * body.size
    heading = Box(area.left, y + body.size, area.right, area.bottom)
    large = sheet.title.scaled(rng.uniform(1.2, 2.2))
    y = canvas.paragraph(heading, sheet.wording.heading(), large, max_lines=1) + body.size
    if rng.random() < 0.6:
        rest = Box(area.left, y, area.right, area.bottom)
        y = grid(sheet, rest, rng.randint(3, 5), rng.randint(3, 12)) + body.size
    while y < area.bottom - 6 * body.size:
        y = _field(sheet, y)
    small = body.scaled(0.8)
    rest = Box(area.left, y, area.right, area.bottom)
    canvas.paragraph(rest, sheet.wording.running(80), small)


def _field(sheet: Sheet, y: float) -> float:
    rng, canvas, area, body = sheet.rng, sheet.canvas, sheet.area, sheet.body
    height = body.size * rng.uniform(1.6, 2.4)
    baseline = y + 0.5 * height + 0.3 * body.size
    x = area.left
    while x < area.right - 8 * body.size:
        end = canvas.line(x, baseline, sheet.wording.words(rng.randint(1, 2)), sheet.title)
        right = min(area.right, end + body.size * rng.uniform(6, 20))
        box = Box(end + 0.4 * body.size, y, right, y + 0.9 * height)
        if rng.random() < 0.5:
            canvas.shade(box, None, 100)
        else:
            canvas.rule(box.left, box.bottom, box.right, box.bottom)
        value = [sheet.wording.code()] if rng.random() < 0.5 else sheet.wording.words(1)
        canvas.paragraph(
            Box(box.left + 3, baseline - 0.8 * body.size, box.right, box.bottom), value, body, 1
        )
        x = right + body.size
    return y + height
