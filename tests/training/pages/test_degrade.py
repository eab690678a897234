"""Boxes follow the ink when a page is turned; the rest keeps the page in its range."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from colpali_serve.training.pages import degrade
from colpali_serve.training.pages.canvas import Canvas, Style, Word
from tests.training.materials import ink


@settings(max_examples=25)
@given(x=st.integers(20, 450), y=st.integers(60, 380), degrees=st.floats(-4, 4))
def test_boxes_follow_the_ink(face: Path, x: int, y: int, degrees: float) -> None:
    sheet = Canvas(600, 400, 255, 1.0)
    sheet.word(x, y, "Hgjlk", Style(face, 30, 0))
    before = ink(sheet.image)
    turned, words = degrade.skewed(sheet.image, sheet.words, degrees, 255)
    assert turned.size == sheet.image.size
    if not words:  # turned off the page
        return
    (old,), (new,) = sheet.words, words
    after = ink(turned)
    assert new.text == old.text
    assert new.right - new.left == pytest.approx(old.right - old.left)
    assert new.bottom - new.top == pytest.approx(old.bottom - old.top)
    for low, high, start, end in (
        (0, 2, new.left - old.left, new.right - old.right),
        (1, 3, new.top - old.top, new.bottom - old.bottom),
    ):
        moved = (after[low] + after[high] - before[low] - before[high]) / 2
        assert abs(moved - (start + end) / 2) < 2.5


def test_a_positive_angle_turns_counter_clockwise() -> None:
    page = Image.new("L", (200, 200), 255)
    right = Word(150, 95, 170, 105, "right")
    _, (word,) = degrade.skewed(page, [right], 10, 255)
    assert word.top < right.top - 5


def test_a_word_that_is_turned_off_the_page_has_no_box() -> None:
    page = Image.new("L", (400, 200), 255)
    corner, middle = Word(0, 0, 40, 12, "corner"), Word(180, 90, 220, 110, "middle")
    _, words = degrade.skewed(page, [corner, middle], 3, 255)
    assert [word.text for word in words] == ["middle"]


def test_what_comes_into_view_is_background() -> None:
    turned, _ = degrade.skewed(Image.new("L", (100, 100), 200), [], 3, 200)
    assert turned.getextrema() == (200, 200)


def test_blur_softens_edges() -> None:
    page = Image.new("L", (40, 40), 255)
    page.paste(0, (20, 0, 40, 40))
    values = np.asarray(degrade.blurred(page, 1.5))[20]
    assert len(set(values.tolist())) > 3
    assert values[0] == 255
    assert values[-1] == 0


@given(seed=st.integers(0, 1000))
def test_shadows_only_darken_and_by_a_quarter_at_most(seed: int) -> None:
    pixels = np.full((30, 40), 200, np.float32)
    dark = degrade.shadowed(random.Random(seed), pixels)
    assert dark.shape == pixels.shape
    assert dark.max() <= 200 + 1e-3
    assert dark.min() >= 150 - 1e-3


def test_noise_has_the_strength_it_was_given() -> None:
    pixels = np.full((200, 200), 128, np.float32)
    grain = degrade.noisy(random.Random(1), pixels, 8.0) - pixels
    assert grain.std() == pytest.approx(8, rel=0.05)
    np.testing.assert_array_equal(grain, degrade.noisy(random.Random(1), pixels, 8.0) - pixels)


def test_jpeg_leaves_the_page_alike_but_not_the_same(face: Path) -> None:
    sheet = Canvas(200, 100, 255, 1.0)
    sheet.word(20, 60, "printer", Style(face, 30, 0))
    before = np.asarray(sheet.image, np.float32)
    after = np.asarray(degrade.compressed(sheet.image, 40), np.float32)
    assert after.shape == before.shape
    assert 0 < np.abs(after - before).mean() < 10
