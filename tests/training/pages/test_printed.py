"""Pages of PDFs: boxes are where the ink is, and nothing is said that cannot be read."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest

from colpali_serve.training.pages import printed
from colpali_serve.training.pages.printed import Print, chosen, drawn, texts
from colpali_serve.training.pages.seeing import SIDE, Page
from tests.conftest import ROOT
from tests.training.materials import WORDS
from tests.training.papers import lines, pdf, said

ENOUGH = lines(WORDS)


class Clear(random.Random):
    """Finest print, and no scanner: what can be compared with the PDF."""

    def random(self) -> float:
        return 0.99


def file(folder: Path, content: bytes, name: str = "x.pdf") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def every(path: Path) -> list[Print]:
    return chosen(random.Random(0), [path], 99, 99)


def only(folder: Path, *pages: str, **more: int | tuple[int, int, int, int]) -> Page:
    (page,) = drawn(Clear(), every(file(folder, pdf(pages, **more))))  # type: ignore[arg-type]
    return page


def said_words(page: Page) -> list[str]:
    return [word.text for word in page.words]


def held(page: Page) -> tuple[float, list[tuple[float, float, float]]]:
    """The share of ink in boxes; for each, the gaps at its left and right and its ink's height.

    Gaps in pixels, the height as a share of the box's.
    """
    ink, inside = page.pixels < 140, np.zeros((SIDE, SIDE), bool)
    found = []
    for word in page.words:
        rows = slice(max(0, int(word.top) - 1), int(word.bottom) + 2)
        first = max(0, int(word.left) - 3)
        inside[rows, max(0, int(word.left) - 1) : int(word.right) + 2] = True
        dark = ink[rows, first : int(word.right) + 4]
        columns, lines = np.nonzero(dark.any(0))[0], np.nonzero(dark.any(1))[0]
        assert len(columns), word
        height = (lines[-1] + 1 - lines[0]) / (word.bottom - word.top)
        right = word.right - (first + columns[-1] + 1)
        found.append((first + columns[0] - word.left, right, height))
    return float((ink & inside).sum() / ink.sum()), found


@pytest.mark.parametrize("size", [11, 18])
@pytest.mark.parametrize("box", [(0, 0, 612, 792), (-40, 30, 572, 822), (0, 0, 792, 800)])
def test_boxes_hold_the_ink_of_their_words_and_little_else(
    tmp_path: Path, box: tuple[int, int, int, int], size: int
) -> None:
    # From ascender to descender, far enough apart to look beyond each box.
    names = [f"{word[:4]}Hgjlkp" for word in WORDS]
    spread = "".join(
        said(60 + 160 * (number % 3), 720 - 2.2 * size * (number // 3), name, size)
        for number, name in enumerate(names)
    )
    page = only(tmp_path, spread, box=box)
    assert said_words(page) == names
    assert (page.kind, page.document) == (printed.KIND, -1)
    share, each = held(page)
    assert share > 0.995
    for left, right, height in each:
        assert abs(left) < 2
        assert abs(right) < 2
        assert 0.8 < height < 1.15


@pytest.mark.parametrize("name", ["minimap2-article.pdf", "rtklib-manual.pdf", "simh-faq.pdf"])
def test_boxes_of_real_pages_hold_ink(name: str) -> None:
    pages = list(drawn(Clear(), chosen(random.Random(0), [ROOT / "examples/pages" / name], 2, 2)))
    assert pages
    for page in pages:
        assert len(page.words) > 100
        found = []
        for word in page.words:
            part = page.pixels[
                int(word.top) : int(np.ceil(word.bottom)), int(word.left) : int(np.ceil(word.right))
            ]
            found.append(int(part.max()) - int(part.min()) > 50)
        assert np.mean(found) > 0.97
        # Boxes of words in one line do not run into each other.
        overlaps = [
            min(one.right, two.right) - max(one.left, two.left) > 2
            for one, two in zip(page.words, page.words[1:], strict=False)
            if abs(one.bottom - two.bottom) < 1
        ]
        assert np.mean(overlaps) < 0.02


def test_words_come_in_reading_order_and_as_they_are_printed(tmp_path: Path) -> None:
    more = said(72, 200, "\u201cquoted\u201d it\u2019s 5, x \u2013 y (so)")
    page = only(tmp_path, ENOUGH + more)
    assert said_words(page) == [*WORDS, '"quoted"', "it's", "5,", "x", "-", "y", "(so)"]


def test_it_is_all_one_how_a_pdf_says_its_size(tmp_path: Path) -> None:
    scaled = "BT /F 1 Tf 14 0 0 14 72 200 Tm (scaled) Tj ET\n"
    page = only(tmp_path, ENOUGH + scaled + said(300, 200, "scaled", 14))
    one, other = page.words[-2:]
    assert one.text == other.text
    assert (one.top, one.bottom) == pytest.approx((other.top, other.bottom), abs=0.01)
    assert one.right - one.left == pytest.approx(other.right - other.left, abs=0.01)


def test_turned_text_is_passed_over(tmp_path: Path) -> None:
    turned = said(300, 300, "sideways here", 14, 90) + said(300, 200, "slanting", 14, 45)
    over = said(500, 90, "over", 14, 180)
    page = only(tmp_path, ENOUGH + turned + over + said(300, 100, "nearly", 14, 0.5))
    assert said_words(page) == [*WORDS, "nearly"]


@pytest.mark.parametrize("rotated", [90, 180, 270])
def test_pages_that_are_shown_turned_have_no_upright_words(tmp_path: Path, rotated: int) -> None:
    assert not list(drawn(Clear(), every(file(tmp_path, pdf([ENOUGH], rotated=rotated)))))


def test_foreign_words_have_no_text_and_no_box(tmp_path: Path) -> None:
    page = only(tmp_path, ENOUGH + said(72, 200, "plain café naïve plain"))
    assert said_words(page) == [*WORDS, "plain", "plain"]


def test_pages_in_another_language_are_left_out(tmp_path: Path) -> None:
    foreign = lines(["größer"] * 6, top=300)
    assert not list(drawn(Clear(), every(file(tmp_path, pdf([ENOUGH + foreign])))))


def test_pages_with_little_text_are_left_out(tmp_path: Path) -> None:
    pages = [lines(WORDS[:29]), lines(WORDS[:30]), ""]
    found = list(drawn(Clear(), every(file(tmp_path, pdf(pages)))))
    assert [len(page.words) for page in found] == [30]


def test_words_beyond_the_edges_are_not_on_the_page(tmp_path: Path) -> None:
    beyond = said(600, 200, "cut off") + said(300, -20, "below") + said(300, 800, "above")
    assert said_words(only(tmp_path, ENOUGH + beyond)) == WORDS


def test_a_word_that_is_broken_at_the_end_of_a_line_is_two(tmp_path: Path) -> None:
    page = only(tmp_path, ENOUGH + said(72, 200, "some exam-") + said(72, 182, "ple of it"))
    assert said_words(page)[-5:] == ["some", "exam-", "ple", "of", "it"]
    broken, rest = page.words[-4:-2]
    assert broken.bottom < rest.bottom
    assert broken.left > rest.left


def test_columns_are_not_joined(tmp_path: Path) -> None:
    page = only(tmp_path, ENOUGH + said(72, 200, "left") + said(300, 200, "right"))
    assert said_words(page)[-2:] == ["left", "right"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("/F 12 Tf 1 0 0 1 72 200 Tm (left) Tj 7 Ts (23) Tj", ["left", "23"]),
        ("/F 20 Tf 1 0 0 1 72 200 Tm (A) Tj /F 10 Tf (bcd) Tj", ["A", "bcd"]),
    ],
)
def test_raised_and_larger_letters_are_words_of_their_own(
    tmp_path: Path, content: str, expected: list[str]
) -> None:
    # Without a blank between them, and with one box they would be in the wrong place.
    page = only(tmp_path, f"{ENOUGH}BT {content} ET\n")
    assert said_words(page) == [*WORDS, *expected]
    one, other = page.words[-2:]
    assert one.right < other.left + 2
    assert one.top != pytest.approx(other.top, abs=1)


def test_a_page_of_any_size_is_printed_in_bounded_memory(tmp_path: Path) -> None:
    page = only(tmp_path, lines(WORDS, size=200, top=14000), box=(0, 0, 14400, 14400))
    assert page.pixels.shape == (SIDE, SIDE)
    assert said_words(page) == WORDS


def test_gzipped_files_are_read_as_others(tmp_path: Path) -> None:
    content = pdf([ENOUGH, ENOUGH])
    plain = file(tmp_path, content)
    packed = file(tmp_path, gzip.compress(content), "x.pdf.gz")
    pages = [list(drawn(Clear(), every(path))) for path in (plain, packed)]
    assert len(pages[0]) == len(pages[1]) == 2
    for one, other in zip(*pages, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.words == other.words


def test_what_is_no_pdf_gives_no_pages(tmp_path: Path) -> None:
    broken = file(tmp_path, b"%PDF-1.4\nnothing of the kind", "a.pdf")
    whole = file(tmp_path, pdf([ENOUGH]), "b.pdf")
    assert chosen(random.Random(0), [broken, whole], 9, 9) == [Print(whole, 0)]
    assert len(list(drawn(Clear(), [Print(broken, 0), Print(whole, 0)]))) == 1


def test_pages_are_spread_over_each_file_and_capped(tmp_path: Path) -> None:
    long = file(tmp_path, pdf(["" for _ in range(10)]), "a.pdf")
    short = file(tmp_path, pdf(["", ""]), "b.pdf")
    found = chosen(random.Random(0), [long, short], 4, 99)
    assert [(one.path, one.index) for one in found] == [
        (long, 0), (long, 2), (long, 5), (long, 7), (short, 0), (short, 1),
    ]  # fmt: skip
    fewer = chosen(random.Random(0), [long, short], 4, 3)
    assert len(fewer) == 3
    assert fewer == [one for one in found if one in fewer]


def test_texts_are_those_of_their_pages(tmp_path: Path) -> None:
    path = file(tmp_path, pdf([said(72, 700, "one page"), said(72, 700, "and another")]))
    other = file(tmp_path, pdf([said(72, 700, "elsewhere")]), "y.pdf")
    prints = [*every(path), *every(other)]
    assert list(texts(prints)) == list(
        zip(prints, ["one page", "and another", "elsewhere"], strict=True)
    )


def test_the_seed_decides_what_a_scanner_does(tmp_path: Path) -> None:
    prints = every(file(tmp_path, pdf([ENOUGH] * 3)))
    one, same, other = (list(drawn(random.Random(seed), prints)) for seed in (1, 1, 2))
    for page, again in zip(one, same, strict=True):
        np.testing.assert_array_equal(page.pixels, again.pixels)
        assert page.words == again.words
    assert any(not np.array_equal(a.pixels, b.pixels) for a, b in zip(one, other, strict=True))
