"""Slides: few words, large, sometimes beside a picture."""

from __future__ import annotations

from colpali_serve.training.pages.canvas import Box, Style, readable_ink
from colpali_serve.training.pages.layouts.picture import picture
from colpali_serve.training.pages.layouts.sheet import Sheet


def draw(sheet: Sheet) -> None:
    """A title, one or two columns of points, perhaps a picture."""
    rng, canvas, area = sheet.rng, sheet.canvas, sheet.area
    behind = rng.choice([255, 255, 240, 30, rng.randint(0, 80)])
    canvas.shade(Box(0, 0, canvas.width, canvas.height), behind)
    ink = readable_ink(rng, behind)
    title = Style(sheet.title.font, canvas.points(rng.uniform(28, 48)), ink, 1.2)
    y = canvas.paragraph(area, sheet.wording.heading(), title, max_lines=2) + 0.4 * title.size
    body = Style(sheet.body.font, canvas.points(rng.uniform(13, 32)), ink, rng.uniform(1.1, 1.4))
    columns = rng.choice([1, 1, 2])
    width = area.width / columns
    for column in range(columns):
        left = area.left + column * width
        if column and rng.random() < 0.4:
            picture(rng, canvas, Box(left, y, area.right, area.bottom))
            continue
        top = y
        while top < area.bottom - body.size:
            point = Box(left + body.size, top, left + width - 0.3 * body.size, area.bottom)
            words = sheet.wording.running(rng.randint(2, 14))
            top = canvas.paragraph(point, words, body) + 0.4 * body.size
            if rng.random() < 0.1:
                break
