"""Charts: bars or lines with labels, an axis of numbers, a legend."""

from __future__ import annotations

from colpali_serve.training.pages.canvas import Box
from colpali_serve.training.pages.layouts.sheet import Sheet


def draw(sheet: Sheet) -> None:
    """One or two charts with captions and text below."""
    rng, canvas, area, body = sheet.rng, sheet.canvas, sheet.area, sheet.body
    large = sheet.title.scaled(1.5)
    y = canvas.paragraph(area, sheet.wording.heading(), large, max_lines=1) + body.size
    for _ in range(rng.randint(1, 2)):
        bottom = min(area.bottom, y + rng.uniform(0.25, 0.45) * canvas.height)
        if bottom - y < 10 * body.size:
            break
        top = y + 2 * body.size  # room for the legend
        _plot(sheet, Box(area.left + 5 * body.size, top, area.right, bottom - 5 * body.size))
        y = bottom
        caption = Box(area.left, y - 1.5 * body.size, area.right, area.bottom)
        label = ["Figure", f"{rng.randint(1, 30)}:", *sheet.wording.running(rng.randint(4, 15))]
        y = canvas.paragraph(caption, label, body) + body.size
    rest = Box(area.left, y, area.right, area.bottom)
    canvas.paragraph(rest, sheet.wording.running(300), body)


def _plot(sheet: Sheet, box: Box) -> None:
    rng, canvas, body = sheet.rng, sheet.canvas, sheet.body
    canvas.rule(box.left, box.top, box.left, box.bottom, 0)
    canvas.rule(box.left, box.bottom, box.right, box.bottom, 0)
    for tick in range(5):
        y = box.bottom - tick / 4 * (box.bottom - box.top)
        canvas.word(box.left - 4.5 * body.size, y, str(tick * rng.choice([5, 20, 25, 250])), body)
    count = rng.randint(3, 7)
    step = box.width / count
    lines = rng.random() < 0.4
    before: tuple[float, float] | None = None
    for number in range(count):
        x = box.left + (number + 0.2) * step
        top = box.bottom - rng.random() * (box.bottom - box.top)
        if lines:
            if before:
                canvas.rule(*before, x, top, rng.randint(0, 150))
            before = (x, top)
        else:
            canvas.shade(Box(x, top, x + 0.6 * step, box.bottom), rng.randint(40, 220))
        if rng.random() < 0.4 and top > box.top + body.size:
            canvas.word(x, top - 0.2 * body.size, sheet.wording.code(), body)
        label = Box(x, box.bottom + 0.3 * body.size, x + 0.95 * step, canvas.height)
        canvas.paragraph(label, sheet.wording.words(rng.randint(1, 2)), body, max_lines=2)
    x = box.left
    for _ in range(rng.randint(1, 4)):
        end = canvas.line(x, box.top - body.size, sheet.wording.words(1), body)
        x = end + 2 * body.size
