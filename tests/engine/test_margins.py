"""Blank margins are found whatever the paper, and nothing that is printed is cut off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from colpali_serve.engine.margins import WHOLE, Box, cut, inside_margins, pixels

A4 = (1240, 1754)


def printed(
    *boxes: tuple[int, int, int, int],
    size: tuple[int, int] = A4,
    paper: int | str = "white",
    ink: int | str = "black",
) -> Image.Image:
    image = Image.new("RGB", size, paper)
    for box in boxes:
        ImageDraw.Draw(image).rectangle(box, fill=ink)
    return image


def test_paper_around_print_is_cut() -> None:
    box = inside_margins(printed((150, 200, 1100, 1500)))
    assert 0.1 < box.left < 150 / 1240
    assert 0.1 < box.top < 200 / 1754
    assert 1101 / 1240 < box.right < 0.92
    assert 1501 / 1754 < box.bottom < 0.88


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_and_coloured_images_are_the_same(mode: str) -> None:
    page = printed((150, 200, 1100, 1500), paper="white", ink="black")
    assert inside_margins(page.convert(mode)) == inside_margins(page)


def test_light_print_on_a_dark_page() -> None:
    dark = printed((150, 200, 1100, 1500), paper=(20, 20, 40), ink=(240, 240, 200))
    light = printed((150, 200, 1100, 1500))
    assert inside_margins(dark) == inside_margins(light)


def test_small_print_counts() -> None:
    """A page number in the corner, 12 pixels high, with strokes of 2."""
    number = ((1150, 1700, 1151, 1711), (1156, 1700, 1157, 1711))
    box = inside_margins(printed((150, 200, 1000, 1500), *number))
    assert box.right > 1158 / 1240
    assert box.bottom > 1712 / 1754


def test_wide_pages_stay_whole() -> None:
    slide = printed((150, 200, 1100, 1500)).transpose(Image.Transpose.ROTATE_90)
    assert inside_margins(slide) == WHOLE
    square = printed((150, 200, 1100, 1100), size=(1240, 1240))
    assert inside_margins(square) != WHOLE


def test_nothing_printed_keeps_everything() -> None:
    assert inside_margins(printed()) == WHOLE
    assert inside_margins(printed(paper="black")) == WHOLE


def test_dust_is_not_print() -> None:
    print_only = printed((150, 200, 1100, 1500))
    dusty = printed((150, 200, 1100, 1500), (30, 30, 31, 31))
    assert inside_margins(dusty) == inside_margins(print_only)


def test_noise_of_a_scanner_is_not_print() -> None:
    clean = printed((150, 200, 1100, 1500), paper=(235, 235, 235))
    noise = np.random.default_rng(0).normal(0, 12, (A4[1], A4[0], 1))
    noisy = Image.fromarray(np.clip(np.asarray(clean) + noise, 0, 255).astype(np.uint8))
    found, expected = inside_margins(noisy), inside_margins(clean)
    assert (found.left, found.top, found.right, found.bottom) == pytest.approx(
        (expected.left, expected.top, expected.right, expected.bottom), abs=0.005
    )


@pytest.mark.parametrize(
    ("edge", "side", "end"),
    [
        ((0, 0, 40, 1753), "left", 0),
        ((0, 0, 1239, 30), "top", 0),
        ((1210, 0, 1239, 1753), "right", 1),
        ((0, 1730, 1239, 1753), "bottom", 1),
    ],
)
def test_a_black_edge_of_a_scan_is_kept(
    edge: tuple[int, int, int, int], side: str, end: float
) -> None:
    box = inside_margins(printed((150, 200, 1100, 1500), edge))
    assert getattr(box, side) == end


def test_the_bed_of_a_scanner_is_cut_and_the_paper_on_it_is_not() -> None:
    bed = printed((200, 150, 1000, 1600), paper=(15, 15, 15), ink="white")
    ImageDraw.Draw(bed).rectangle((300, 300, 800, 1200), fill="black")
    left, top, right, bottom = pixels(A4, inside_margins(bed))
    assert 180 < left <= 200
    assert 120 < top <= 150
    assert 1001 <= right < 1020
    assert 1601 <= bottom < 1630


def test_one_word_does_not_fill_the_page() -> None:
    box = inside_margins(printed((600, 850, 640, 870)))
    assert box.right - box.left == pytest.approx(0.5)
    assert box.bottom - box.top == pytest.approx(0.5)
    assert box.left < 600 / 1240 < 640 / 1240 < box.right


def test_one_word_in_a_corner() -> None:
    box = inside_margins(printed((5, 5, 40, 20)))
    assert (box.left, box.top) == (0, 0)
    assert box.right >= 0.5
    assert box.bottom >= 0.5


sides = st.integers(1, 900)
shares = st.floats(0, 0.9)


@given(sides, sides, shares, shares, st.floats(0.05, 1), st.floats(0.05, 1))
def test_print_is_never_cut(
    width: int, height: int, left: float, top: float, across: float, down: float
) -> None:
    first, above = int(left * width), int(top * height)
    last = min(width - 1, first + max(4, int(across * width)))
    below = min(height - 1, above + max(4, int(down * height)))
    image = printed((first, above, last, below), size=(width, height))
    box = inside_margins(image)
    assert width <= height or box == WHOLE
    assert 0 <= box.left < box.right <= 1
    assert 0 <= box.top < box.bottom <= 1
    assert box.right - box.left >= 0.5 - 1e-9
    assert box.bottom - box.top >= 0.5 - 1e-9
    inner = cut(image, box)
    assert min(inner.size) >= 1
    x, y, right, bottom = pixels(image.size, box)
    assert inner.size == (right - x, bottom - y)
    # Where the edge itself is mostly printed on, that is the paper, and the rest is print.
    grey = np.asarray(image)[..., 0]
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if (edge == 255).mean() > 0.6 and last - first >= 4 and below - above >= 4:
        assert (np.asarray(inner) == 0).sum() == (np.asarray(image) == 0).sum()


def test_the_whole_page_is_not_copied() -> None:
    page = printed()
    assert cut(page, WHOLE) is page
    assert cut(page, Box(left=0.5)).size == (620, 1754)
