"""Boxes are where the ink is."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.pages import fonts
from colpali_serve.training.pages.canvas import SMALLEST_PX, Box, Canvas, Style, readable_ink
from tests.training.materials import WORDS, ink


def canvas(width: int = 400, height: int = 300) -> Canvas:
    return Canvas(width, height, 255, 1.0)


@pytest.mark.parametrize("size", [12, 24, 60])
@pytest.mark.parametrize("text", ["Hgjlkp", "printer", "No.42"])
def test_a_box_holds_the_ink_of_its_word_and_little_else(face: Path, size: int, text: str) -> None:
    sheet = canvas()
    width = sheet.word(40, 150, text, Style(face, size, 0))
    (word,) = sheet.words
    assert word.text == text
    assert word.right - word.left == width
    left, top, right, bottom = ink(sheet.image)
    slack = 1 + 0.1 * size
    assert abs(left - word.left) < slack
    assert abs(right - word.right) < slack
    assert word.top - slack < top < word.top + 0.4 * size
    assert word.bottom - 0.3 * size < bottom < word.bottom + slack
    if text == "Hgjlkp":  # from ascender to descender
        assert abs(top - word.top) < slack
        assert abs(bottom - word.bottom) < slack


@pytest.mark.parametrize(("x", "y"), [(-3, 100), (390, 100), (50, 5), (50, 299)])
def test_a_word_that_is_cut_off_has_no_box(face: Path, x: float, y: float) -> None:
    sheet = canvas()
    assert sheet.word(x, y, "printer", Style(face, 20, 0)) > 0
    assert sheet.words == []


def test_a_line_leaves_gaps_and_says_where_it_ends(face: Path) -> None:
    sheet, style = canvas(), Style(face, 20, 0)
    end = sheet.line(10, 50, ["river", "castle"], style)
    first, second = sheet.words
    assert first.left == 10
    assert second.left == pytest.approx(first.right + fonts.width(face, 20, " "))
    assert end == pytest.approx(second.right)


@given(
    texts=st.lists(st.sampled_from([*WORDS, "I", "incomprehensibilities"]), max_size=60),
    size=st.integers(6, 40),
    width=st.integers(60, 380),
    bottom=st.integers(60, 290),
    justified=st.booleans(),
    max_lines=st.integers(1, 20),
)
def test_a_paragraph_stays_in_its_box(
    face: Path,
    texts: list[str],
    size: int,
    width: int,
    bottom: int,
    justified: bool,
    max_lines: int,
) -> None:
    sheet = canvas()
    style = Style(face, size, 0, leading=1.25, justified=justified)
    box = Box(10, 10, 10 + width, bottom)
    below = sheet.paragraph(box, texts, style, max_lines)
    drawn = [word.text for word in sheet.words]
    narrow = [text for text in texts if fonts.width(face, size, text) <= width]
    assert drawn == narrow[: len(drawn)]
    lines = sorted({word.top for word in sheet.words})
    assert len(lines) <= max_lines
    assert all(b - a == pytest.approx(1.25 * size) for a, b in pairwise(lines))
    for word in sheet.words:
        assert box.left - 1e-6 <= word.left
        assert word.right <= box.right + 1e-6
    # The first line is drawn in any case, those below only where there is room.
    assert all(word.bottom <= box.bottom + 1e-6 for word in sheet.words if word.top != lines[0])
    if drawn:
        assert below == pytest.approx(10 + len(lines) * 1.25 * size)
    if drawn and len(drawn) < len(narrow):
        full = len(lines) == max_lines
        assert full or below + style.size * (0.8 + 0.20) > box.bottom - 1e-6


def test_justified_lines_reach_both_edges_but_the_last(face: Path) -> None:
    sheet = canvas()
    style = Style(face, 16, 0, justified=True)
    sheet.paragraph(Box(20, 20, 220, 280), WORDS[:20], style)
    tops = sorted({word.top for word in sheet.words})
    ends = [max(word.right for word in sheet.words if word.top == top) for top in tops]
    assert len(tops) > 2
    assert ends[:-1] == pytest.approx([220] * (len(tops) - 1))
    assert ends[-1] < 220


@given(background=st.integers(0, 255), seed=st.integers(0, 99))
def test_ink_stands_out(background: int, seed: int) -> None:
    if 90 <= background < 165:
        return  # nothing is printed on such a ground
    assert abs(readable_ink(random.Random(seed), background) - background) >= 90


def test_shapes_are_drawn_without_words() -> None:
    sheet = canvas(100, 80)
    sheet.shade(Box(10, 10, 50, 40), 30)
    sheet.rule(0, 60, 99, 60, 0)
    pixels = np.asarray(sheet.image)
    assert (pixels[10:41, 10:51] == 30).all()
    assert (pixels[60] == 0).all()
    assert (pixels[70] == 255).all()
    assert sheet.words == []


def test_a_rectangle_of_no_size_does_not_fail() -> None:
    canvas().shade(Box(50, 50, 40, 40), 10, 20)


def test_sizes_never_fall_below_what_can_be_drawn(face: Path) -> None:
    assert Canvas(10, 10, 255, 0.1).points(8) == SMALLEST_PX
    assert Style(face, 8, 0).scaled(0.1).size == SMALLEST_PX
    assert Canvas(10, 10, 255, 2.0).points(8) == 16
