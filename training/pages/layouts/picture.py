"""Something that looks like a photograph: smooth blobs and grain, without any words."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image

from colpali_serve.training.pages.canvas import Box, Canvas


def picture(rng: random.Random, canvas: Canvas, box: Box) -> None:
    """Paste a picture into a box."""
    width, height = round(box.right - box.left), round(box.bottom - box.top)
    if width < 8 or height < 8:
        return
    noise = np.random.default_rng(rng.randrange(2**32))
    coarse = noise.uniform(0, 255, (rng.randint(2, 7), rng.randint(2, 7))).astype(np.uint8)
    blobs = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    grain = noise.normal(0, rng.uniform(0, 20), (height, width))
    pixels = np.clip(np.asarray(blobs, np.float32) + grain, 0, 255).astype(np.uint8)
    canvas.image.paste(Image.fromarray(pixels), (round(box.left), round(box.top)))
