"""Pages: the same for the same seed, boxes on the page and on the ink, words of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import KINDS, PageMaker
from colpali_serve.training.pages.seeing import SIDE, Page
from colpali_serve.training.pages.wording import Vocabulary, is_held_out
from colpali_serve.training.text.documents import Document, Section
from tests.training.materials import WORDS, said


def maker(face: Path, seed: int = 0, **more: float) -> PageMaker:
    return PageMaker(said(), Fonts((face,), ()), seed, **more)


def contrast(page: Page) -> list[int]:
    """For each word, how far apart the darkest and the lightest pixel of its box are."""
    found = []
    for word in page.words:
        rows = slice(int(word.top), int(np.ceil(word.bottom)))
        part = page.pixels[rows, int(word.left) : int(np.ceil(word.right))]
        found.append(int(part.max()) - int(part.min()))
    return found


def test_the_same_seed_gives_the_same_pages(face: Path) -> None:
    one, two = maker(face, 4), maker(face, 4)
    for _ in range(4):
        first, second = one.page(), two.page()
        assert first.words == second.words
        assert (first.kind, first.document) == (second.kind, second.document)
        np.testing.assert_array_equal(first.pixels, second.pixels)


def test_other_seeds_and_the_next_page_are_others(face: Path) -> None:
    one = maker(face, 4)
    pages = [one.page("article"), one.page("article"), maker(face, 5).page("article")]
    assert len({page.words for page in pages}) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_words_where_its_boxes_are(face: Path, kind: str) -> None:
    one = maker(face, 1, scans=0.0)
    for _ in range(3):
        page = one.page(kind, points=12)
        assert page.kind == kind
        assert page.pixels.shape == (SIDE, SIDE)
        assert page.pixels.dtype == np.uint8
        assert len(page.words) >= 5
        for word in page.words:
            assert 0 <= word.left < word.right <= SIDE + 1e-6
            assert 0 <= word.top < word.bottom <= SIDE + 1e-6
            assert word.text == word.text.strip() != ""
        # A label may be drawn upon another, a full stop is small.
        assert np.mean([found > 50 for found in contrast(page)]) > 0.9


@pytest.mark.parametrize("kind", ["article", "table"])
def test_boxes_hold_most_of_the_ink(face: Path, kind: str) -> None:
    one = maker(face, 2, scans=0.0)
    inside = total = 0.0
    for _ in range(4):
        page = one.page(kind, points=11)
        ground = float(np.median(page.pixels))
        ink = np.abs(page.pixels - ground) > 80
        held = np.zeros_like(ink)
        for word in page.words:
            rows = slice(int(word.top), int(word.bottom) + 2)
            held[rows, int(word.left) : int(word.right) + 2] = True
        # Rules and panels are ink too; letters are narrow.
        ink &= ~(ink[:, np.r_[9:SIDE, [0] * 9]] & ink[:, np.r_[[0] * 9, 0 : SIDE - 9]])
        inside, total = inside + float((ink & held).sum()), total + float(ink.sum())
    assert inside / total > 0.85


def test_scanned_pages_keep_their_words_in_place(face: Path) -> None:
    one = maker(face, 3, scans=1.0)
    found = [each for _ in range(4) for each in contrast(one.page("article", points=14))]
    assert np.mean([each > 40 for each in found]) > 0.9


def test_larger_print_has_larger_boxes(face: Path) -> None:
    def height(points: float) -> float:
        page = maker(face, 6, scans=0.0).page("article", points)
        return float(np.median([word.bottom - word.top for word in page.words]))

    assert 1.6 < height(20) / height(10) < 2.4


def test_rare_fonts_come_now_and_then(face: Path, tmp_path: Path) -> None:
    rare = tmp_path / "rare.ttf"
    rare.write_bytes(face.read_bytes())
    one = PageMaker(said(), Fonts((face,), (rare,)), 0)
    picked = [one._pick() for _ in range(400)]
    assert 0.15 < picked.count(rare) / len(picked) < 0.35


def test_dictionary_words_that_are_held_out_are_drawn_only_where_they_are_given(
    face: Path,
) -> None:
    held = [word for word in (f"held{letter}{more}" for letter in "abcdef" for more in WORDS)
            if is_held_out(word)]  # fmt: skip
    plain = [Document("test", "", (Section("", " ".join(["mountain"] * 50)),))]
    for words, expected in ((held, True), (WORDS, False)):
        one = PageMaker(Vocabulary(words, plain), Fonts((face,), ()), 0, scans=0.0)
        drawn = {
            word.text.lower().rstrip(",.:") for _ in range(4) for word in one.page("labels").words
        }
        assert bool(drawn & set(held)) == expected
