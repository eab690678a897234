"""Running text in one to three columns: manuals, papers, letters, books."""

from __future__ import annotations

from dataclasses import replace

from colpali_serve.training.pages.canvas import Box, Style
from colpali_serve.training.pages.layouts.sheet import Sheet
from colpali_serve.training.pages.layouts.table import grid


def draw(sheet: Sheet) -> None:
    """Fill the page with headings, paragraphs, lists, boxes, small tables and listings."""
    rng, area = sheet.rng, sheet.area
    top = area.top
    if rng.random() < 0.7:
        sheet.header_and_footer()
    if rng.random() < 0.4:
        box = Box(area.left, top, area.right, area.bottom)
        large = sheet.title.scaled(rng.uniform(1.4, 2.6))
        top = sheet.canvas.paragraph(box, sheet.wording.heading(), large, max_lines=2)
        top += sheet.body.size
    columns = rng.choice([1, 1, 1, 1, 2, 2, 3]) if sheet.body.size < area.width / 40 else 1
    gap = 0.04 * sheet.canvas.width
    width = (area.width - gap * (columns - 1)) / columns
    for column in range(columns):
        left = area.left + column * (width + gap)
        _column(sheet, Box(left, top, left + width, area.bottom))


def _column(sheet: Sheet, box: Box) -> None:
    rng, canvas, body = sheet.rng, sheet.canvas, sheet.body
    y = box.top
    while y < box.bottom - 1.5 * body.size:
        rest = Box(box.left, y, box.right, box.bottom)
        kind = rng.random()
        if kind < 0.14:
            y = _heading(sheet, rest)
        elif kind < 0.20 and y < box.bottom - 8 * body.size:
            bottom = y + rng.uniform(3, 10) * body.size
            panel = Box(box.left, y, box.right, min(bottom, box.bottom))
            if style := sheet.panel(panel):
                canvas.paragraph(panel.inset(0.5 * body.size), sheet.wording.running(60), style)
            y = panel.bottom + 0.6 * body.size
        elif kind < 0.30:
            y = _items(sheet, rest)
        elif kind < 0.36:
            y = grid(sheet, rest, rng.randint(2, 5), rng.randint(2, 6)) + body.size
        elif kind < 0.42:
            y = _listing(sheet, rest)
        else:
            y = canvas.paragraph(rest, sheet.wording.running(rng.randint(20, 90)), body)
        y += body.size * rng.uniform(0.1, 0.9)


def _heading(sheet: Sheet, box: Box) -> float:
    rng = sheet.rng
    number = [f"{rng.randint(1, 12)}.{rng.randint(1, 9)}"] if rng.random() < 0.5 else []
    style = sheet.title.scaled(rng.uniform(1.05, 1.7))
    lower = Box(box.left, box.top + 0.4 * sheet.body.size, box.right, box.bottom)
    return sheet.canvas.paragraph(lower, number + sheet.wording.heading(), style, max_lines=2)


def _items(sheet: Sheet, box: Box) -> float:
    rng, canvas, body = sheet.rng, sheet.canvas, sheet.body
    indent = body.size * rng.uniform(1, 3)
    numbered = rng.random() < 0.4
    y = box.top
    for number in range(1, rng.randint(3, 6)):
        if y > box.bottom - body.size:
            break
        if numbered:
            canvas.word(box.left, y + 0.8 * body.size, f"{number}.", body)
        else:
            x = box.left + 0.3 * indent
            dot = (x, y + 0.4 * body.size, x + 0.3 * body.size, y + 0.7 * body.size)
            canvas.draw.ellipse(dot, fill=body.ink)
        item = Box(box.left + indent, y, box.right, box.bottom)
        y = canvas.paragraph(item, sheet.wording.running(rng.randint(3, 20)), body)
    return y


def _listing(sheet: Sheet, box: Box) -> float:
    rng = sheet.rng
    style = replace(sheet.title, leading=1.15, justified=False).scaled(rng.uniform(0.8, 1.0))
    style = Style(style.font, style.size, sheet.body.ink, style.leading)
    y = box.top
    for _ in range(rng.randint(2, 7)):
        if y > box.bottom - style.size:
            break
        indent = rng.choice([0, 0, 2, 4]) * style.size / 2
        row = Box(box.left + indent, y, box.right, box.bottom)
        y = sheet.canvas.paragraph(row, sheet.wording.words(rng.randint(2, 7)), style, max_lines=1)
    return y
