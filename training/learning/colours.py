"""Colours and grain for crops of grey pages."""

from __future__ import annotations

import random

import numpy as np


def coloured(rng: random.Random, noise: np.random.Generator, grey: np.ndarray) -> np.ndarray:
    """Grey values to three channels: half the time in random light and dark colours.

    Args:
        rng: of the colours.
        noise: of the grain that one in seven gets.
        grey: uint8 (height, width).

    Returns:
        float32 (3, height, width) in -1..1.
    """
    share = grey.astype(np.float32)[None] / 255
    if rng.random() < 0.5:
        light = np.array([rng.uniform(0.75, 1) for _ in range(3)], np.float32)[:, None, None]
        dark = np.array([rng.uniform(0, 0.4) for _ in range(3)], np.float32)[:, None, None]
        image = dark + (light - dark) * share
    else:
        image = np.repeat(share, 3, 0)
    if rng.random() < 0.15:
        image = image + noise.normal(0, rng.uniform(0, 0.05), share.shape).astype(np.float32)
    return np.clip(image, 0, 1) * 2 - 1
