"""Which patch shows which piece of which word."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from transformers import PreTrainedTokenizerFast

from colpali_serve.training.model.architecture import PATCH
from colpali_serve.training.pages.canvas import Word

LETTERS = string.ascii_lowercase + string.digits
OTHER_LETTER = len(LETTERS)
NO_LETTER = OTHER_LETTER + 1
"""What a patch without text shows, among the letters."""

_LETTER_NUMBER = {letter: number for number, letter in enumerate(LETTERS)}
# A box goes from the ascender line to the descender line; most ink lies between these.
_TRIM_TOP, _TRIM_BOTTOM = 0.13, 0.11


@dataclass(frozen=True)
class Labels:
    """The text of one page, split into words, pieces and letters; boxes in pixels.

    Attributes:
        words: float32 (words, 4).
        letter_widths: float32 (words,): mean width of a word's letters, in pixels.
        pieces: int64 (pieces,) ids of the tokenizer.
        piece_boxes: float32 (pieces, 4).
        piece_words: int64 (pieces,): the word that each piece is of, ascending.
        letters: int64 (letters,).
        letter_boxes: float32 (letters, 4).
    """

    words: np.ndarray
    letter_widths: np.ndarray
    pieces: np.ndarray
    piece_boxes: np.ndarray
    piece_words: np.ndarray
    letters: np.ndarray
    letter_boxes: np.ndarray


class Labeller:
    """Splits words with a tokenizer, remembering the words it has seen."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        core = tokenizer.backend_tokenizer

        @lru_cache(maxsize=300_000)
        def split(word: str) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
            encoding = core.encode(word, add_special_tokens=False)
            return tuple(encoding.ids), tuple(encoding.offsets)

        self._split = split

    def __call__(self, words: Sequence[Word]) -> Labels:
        """The labels of a page's words; a word's width is shared out evenly to its letters."""
        pieces, piece_boxes, piece_words, letters, letter_boxes = [], [], [], [], []
        for number, word in enumerate(words):
            height = word.bottom - word.top
            top, bottom = word.top + _TRIM_TOP * height, word.bottom - _TRIM_BOTTOM * height
            step = (word.right - word.left) / max(1, len(word.text))
            for piece, (first, last) in zip(*self._split(word.text), strict=True):
                pieces.append(piece)
                piece_words.append(number)
                piece_boxes.append((word.left + step * first, top, word.left + step * last, bottom))
            for place, letter in enumerate(word.text.lower()):
                letters.append(_LETTER_NUMBER.get(letter, OTHER_LETTER))
                left = word.left + step * place
                letter_boxes.append((left, top, left + step, bottom))
        return Labels(
            _boxes([(word.left, word.top, word.right, word.bottom) for word in words]),
            np.array([(w.right - w.left) / max(1, len(w.text)) for w in words], np.float32),
            np.array(pieces, np.int64),
            _boxes(piece_boxes),
            np.array(piece_words, np.int64),
            np.array(letters, np.int64),
            _boxes(letter_boxes),
        )


def _boxes(boxes: Sequence[tuple[float, float, float, float]]) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4)


def shown(
    boxes: np.ndarray, columns: int, rows: int, across: float, down: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The patches of a grid that show a box.

    A patch shows a box if they overlap by enough of the smaller of the two, in each direction.

    Args:
        boxes: float32 (boxes, 4) in pixels of the grid.
        columns: patches across.
        rows: patches down.
        across: least overlap horizontally, 0 to 1.
        down: least overlap vertically, 0 to 1.

    Returns:
        Patches (raster index), the boxes they show, and by how much (0 to 1): three arrays of one
        length.

    >>> patches, which, share = shown(np.array([[8.0, 0, 40, 16]]), 4, 1, 0.3, 0.4)
    >>> patches.tolist(), which.tolist(), share.tolist()
    ([0, 1, 2], [0, 0, 0], [0.5, 1.0, 0.5])
    """
    if not len(boxes):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    left, top, right, bottom = boxes.T
    reach_x = int((right - left).max() // PATCH) + 2
    reach_y = int((bottom - top).max() // PATCH) + 2
    column = np.floor(left / PATCH).astype(np.int64)[:, None] + np.arange(reach_x)
    row = np.floor(top / PATCH).astype(np.int64)[:, None] + np.arange(reach_y)
    overlap_x = _overlap(left, right, column)
    overlap_y = _overlap(top, bottom, row)
    enough_x = (overlap_x >= across) & (column >= 0) & (column < columns)
    enough_y = (overlap_y >= down) & (row >= 0) & (row < rows)
    which, x, y = np.nonzero(enough_x[:, :, None] & enough_y[:, None, :])
    share = overlap_x[which, x] * overlap_y[which, y]
    return row[which, y] * columns + column[which, x], which, share.astype(np.float32)


def _overlap(start: np.ndarray, end: np.ndarray, cell: np.ndarray) -> np.ndarray:
    common = np.minimum(end[:, None], (cell + 1) * PATCH) - np.maximum(start[:, None], cell * PATCH)
    share: np.ndarray = common / np.maximum(1, np.minimum(end - start, PATCH))[:, None]
    return share
