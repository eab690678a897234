"""Which patch shows what, against a loop that anyone can follow."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.learning import labels
from colpali_serve.training.learning.labels import LETTERS, OTHER_LETTER, Labeller
from colpali_serve.training.model.architecture import PATCH
from colpali_serve.training.pages.canvas import Word
from tests.training.materials import WORDS, tokenizer

# Eighths of a pixel are exact in float32, so both sides round alike.
EIGHTHS = st.integers(-400, 1200).map(lambda value: value / 8)
SIZES = st.integers(0, 500).map(lambda value: value / 8)
BOXES = st.lists(
    st.tuples(EIGHTHS, EIGHTHS, SIZES, SIZES).map(
        lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
    ),
    max_size=6,
)


def slowly(
    boxes: list[tuple[float, float, float, float]],
    columns: int,
    rows: int,
    across: float,
    down: float,
) -> set[tuple[int, int, float]]:
    """Patch, box and share, by looking at every patch and every box."""

    def overlap(start: float, end: float, cell: int) -> float:
        common = min(end, (cell + 1) * PATCH) - max(start, cell * PATCH)
        return common / max(1.0, min(end - start, PATCH))

    found = set()
    for number, (left, top, right, bottom) in enumerate(boxes):
        for row in range(rows):
            for column in range(columns):
                x, y = overlap(left, right, column), overlap(top, bottom, row)
                if x >= across and y >= down:
                    found.add((row * columns + column, number, float(np.float32(x * y))))
    return found


@given(
    boxes=BOXES,
    columns=st.integers(1, 8),
    rows=st.integers(1, 5),
    across=st.sampled_from([0.25, 0.3, 0.5, 1.0]),
    down=st.sampled_from([0.25, 0.4, 1.0]),
)
def test_shown_is_what_a_double_loop_finds(
    boxes: list[tuple[float, float, float, float]],
    columns: int,
    rows: int,
    across: float,
    down: float,
) -> None:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    patch, which, share = labels.shown(array, columns, rows, across, down)
    assert (patch.dtype, which.dtype, share.dtype) == (np.int64, np.int64, np.float32)
    found = list(zip(patch.tolist(), which.tolist(), share.tolist(), strict=True))
    assert len(set(found)) == len(found)
    assert set(found) == slowly(boxes, columns, rows, across, down)


@cache
def labeller() -> Labeller:
    return Labeller(tokenizer())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*WORDS, "CASTLE,", "unheard-of", "$12.50", "I"]),
            st.integers(0, 600),
            st.integers(0, 700),
            st.integers(5, 150),
            st.integers(6, 60),
        ),
        max_size=8,
    )
)
def test_pieces_and_letters_tile_their_words(drawn: list[tuple[str, int, int, int, int]]) -> None:
    words = [Word(x, y, x + width, y + height, text) for text, x, y, width, height in drawn]
    page = labeller()(words)
    assert len(page.words) == len(page.letter_widths) == len(words)
    assert (np.diff(page.piece_words) >= 0).all()
    assert len(page.letters) == sum(len(word.text) for word in words)
    place = 0
    for number, word in enumerate(words):
        mine = page.piece_words == number
        expected = tokenizer()(word.text, add_special_tokens=False)["input_ids"]
        assert page.pieces[mine].tolist() == expected
        boxes = page.piece_boxes[mine]
        assert boxes[0, 0] == pytest.approx(word.left)
        assert boxes[-1, 2] == pytest.approx(word.right, abs=1e-2)
        np.testing.assert_allclose(boxes[1:, 0], boxes[:-1, 2], atol=1e-2)
        # Less high than the word: most ink lies between ascender and descender lines.
        assert (boxes[:, 1] > word.top).all()
        assert (boxes[:, 3] < word.bottom).all()
        letters = slice(place, place + len(word.text))
        named = [
            LETTERS[letter] if letter < OTHER_LETTER else "?" for letter in page.letters[letters]
        ]
        assert named == [each if each.isalnum() else "?" for each in word.text.lower()]
        step = (word.right - word.left) / len(word.text)
        np.testing.assert_allclose(
            page.letter_boxes[letters, 0], word.left + step * np.arange(len(word.text)), atol=1e-2
        )
        assert page.letter_widths[number] == pytest.approx(step)
        place += len(word.text)


def test_a_page_without_words_has_empty_labels() -> None:
    page = labeller()([])
    assert page.words.shape == page.piece_boxes.shape == page.letter_boxes.shape == (0, 4)
    assert len(page.pieces) == len(page.letters) == 0
    assert all(len(part) == 0 for part in labels.shown(page.piece_boxes, 4, 4, 0.3, 0.4))
