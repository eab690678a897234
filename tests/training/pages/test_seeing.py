"""What the model sees of a page: the right size, words where they were, a scanner's doings."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from colpali_serve.training.pages.canvas import Word
from colpali_serve.training.pages.seeing import SIDE, seen

WIDTH, HEIGHT = 900, 1200
WORDS = tuple(
    Word(x, y, x + 110, y + 40, f"w{x}{y}")
    for x in range(80, 800, 150)
    for y in range(90, 1100, 90)
)


def sheet(ground: int = 255) -> Image.Image:
    """A page whose words are blocks of black, as large as their boxes."""
    image = Image.new("L", (WIDTH, HEIGHT), ground)
    draw = ImageDraw.Draw(image)
    for word in WORDS:
        draw.rectangle((word.left, word.top, word.right - 1, word.bottom - 1), fill=0)
    return image


def contrast(pixels: np.ndarray, words: tuple[Word, ...]) -> float:
    """How much darker the middles of the words are than what lies around all of them."""
    shown = pixels.astype(np.float32)
    held = np.zeros(pixels.shape, bool)
    middles = []
    for word in words:
        x, y = (word.right - word.left) / 6, (word.bottom - word.top) / 6
        rows = slice(round(word.top + y), round(word.bottom - y))
        middles.append(shown[rows, round(word.left + x) : round(word.right - x)].mean())
        rows = slice(int(word.top) - 4, int(word.bottom) + 5)
        held[rows, int(word.left) - 4 : int(word.right) + 5] = True
    # The ground next to the words: a page that was turned has other corners.
    inner = (slice(40, SIDE - 40), slice(40, SIDE - 40))
    return float(np.median(shown[inner][~held[inner]]) - np.mean(middles))


def turned(words: tuple[Word, ...]) -> bool:
    """Whether words that stood below each other do not any more."""
    return words[0].left != pytest.approx(words[5].left, abs=0.01)


def stretched(words: tuple[Word, ...]) -> np.ndarray:
    """Where words are after a page was cut and squeezed: the map of their corners, and what is off.

    Returns:
        Scale and shift across, the same down, and the largest distance from it in pixels.
    """
    found = []
    for sides in (("left", "right"), ("top", "bottom")):
        before, after = (
            np.array([getattr(word, side) for word in some for side in sides])
            for some in (WORDS, words)
        )
        scale, shift = np.polyfit(before, after, 1)
        found += [scale, shift, np.abs(scale * before + shift - after).max()]
    return np.array(found)


def test_a_page_becomes_a_square_and_its_boxes_with_it() -> None:
    inverted = whole = 0
    for seed in range(60):
        pixels, words = seen(random.Random(seed), sheet(), WORDS, 255, scans=0.0)
        assert pixels.shape == (SIDE, SIDE)
        assert pixels.dtype == np.uint8
        assert [word.text for word in words] == [word.text for word in WORDS]
        across, left, across_off, down, top, down_off = stretched(words)
        assert max(across_off, down_off) < 1e-6
        assert min(word.left for word in words) > 0
        assert max(word.bottom for word in words) < SIDE
        if (across, down) == pytest.approx((SIDE / WIDTH, SIDE / HEIGHT)):
            whole += 1
            assert (left, top) == pytest.approx((0, 0), abs=1e-6)
        else:  # its margins are gone, and it is seen larger
            assert across > 1.03 * SIDE / WIDTH
            assert down > 1.03 * SIDE / HEIGHT
        # All but nothing of black and white is lost; some pages are white on black.
        found = contrast(pixels, words)
        assert abs(found) > 240
        inverted += found < 0
    assert 0 < inverted < 12
    assert 0 < whole < 15


@pytest.mark.parametrize("ground", [255, 225])
def test_a_scanned_page_keeps_its_words_in_place(ground: int) -> None:
    slanted = 0
    for seed in range(30):
        pixels, words = seen(random.Random(seed), sheet(ground), WORDS, ground, scans=1.0)
        assert abs(contrast(pixels, words)) > 90
        slanted += turned(words)
    assert 8 < slanted < 28


def test_it_is_turned_no_further_than_told() -> None:
    for seed in range(20):
        _, words = seen(random.Random(seed), sheet(), WORDS, 255, scans=1.0, degrees=0.0)
        assert not turned(words)


def test_the_seed_decides() -> None:
    one, same, other = (
        seen(random.Random(seed), sheet(), WORDS, 255, scans=1.0) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one[0], same[0])
    assert one[1] == same[1]
    assert not np.array_equal(one[0], other[0])
