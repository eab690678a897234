"""What a layout is given: canvas, wording, fonts and the page's own style."""

from __future__ import annotations

import random
from dataclasses import dataclass

from colpali_serve.training.pages.canvas import Box, Canvas, Style, readable_ink
from colpali_serve.training.pages.wording import Wording


@dataclass(frozen=True)
class Sheet:
    """A page to be filled.

    Attributes:
        rng: where the choices come from.
        canvas: what is drawn on.
        wording: what is said.
        body: the style of running text.
        title: the style of headings, in the body's size.
        area: what lies within the margins.
    """

    rng: random.Random
    canvas: Canvas
    wording: Wording
    body: Style
    title: Style
    area: Box

    def header_and_footer(self) -> None:
        """A running title and a page number, as manuals have them."""
        rng, canvas = self.rng, self.canvas
        small = self.body.scaled(rng.uniform(0.75, 1.0))
        number = str(rng.randint(1, 900))
        if rng.random() < 0.5:
            y = self.area.top * rng.uniform(0.4, 0.8)
            canvas.line(self.area.left, y, self.wording.heading()[:7], small)
            if rng.random() < 0.5:
                canvas.rule(self.area.left, y + small.size / 2, self.area.right, y + small.size / 2)
        y = canvas.height - (canvas.height - self.area.bottom) * rng.uniform(0.3, 0.7)
        if rng.random() < 0.5:
            canvas.line(self.area.left, y, self.wording.heading()[:6], small)
        x = rng.choice([canvas.width / 2, self.area.right - 3 * small.size])
        canvas.line(x, y, [number] if rng.random() < 0.7 else ["Page", number], small)

    def panel(self, box: Box) -> Style | None:
        """Shade a rectangle and say which style can be read on it, None if none can."""
        rng = self.rng
        fill = rng.randint(0, 255) if rng.random() < 0.6 else None
        self.canvas.shade(box, fill, rng.randint(0, 200))
        behind = self.canvas.background if fill is None else fill
        if 90 < behind < 165:
            return None
        return Style(self.body.font, self.body.size, readable_ink(rng, behind), self.body.leading)
