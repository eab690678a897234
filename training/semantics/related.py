"""Words that may stand on the page that answers a text: those that the encoder puts nearest to it.

A query's own words are among them, where they tell anything: "printer" is near to "how do I tell
which driver is the right one for my printer?", and so is "drivers"; "tell" is not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from colpali_serve.training.semantics.asker import words_of

# A word tells pages apart if it is on some of them and not on most: on one in eight at most.
_LEAST_PAGES, _LEAST_TOLD = 3, 2.0
_LEAST_LETTERS = 3
_TEXTS_AT_ONCE = 4096
_STEM, _ENDING = 4, 3


def telling(pages: Iterable[Sequence[str]]) -> list[str]:
    """Words that tell pages apart, in order.

    Args:
        pages: the words of each.

    >>> telling([["The", "printer"]] * 3 + [["the", "ox"]] * 3 + [["the"]] * 24)
    ['printer']
    """
    used, count = Counter[str](), 0
    for page in pages:
        used.update(words_of(page))
        count += 1
    return sorted(
        word
        for word, on in used.items()
        if on >= _LEAST_PAGES
        and math.log((count + 1) / (on + 1)) > _LEAST_TOLD
        and len(word) >= _LEAST_LETTERS
        and word.isalpha()
    )


def nearest(texts: np.ndarray, words: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The words that are nearest to each text, without what all texts and all words have in common.

    Args:
        texts: float32 (texts, dim), an encoder's unit vectors.
        words: float32 (words, dim), of the same encoder.
        count: how many; fewer if there are not so many words.

    Returns:
        Their numbers, int64 (texts, count), nearest first, and their cosines, float32.
    """
    texts, words = _centred(texts), _centred(words)
    numbers, cosines = [], []
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        close = texts[start : start + _TEXTS_AT_ONCE] @ words.T
        first = np.argpartition(-close, min(count, len(words)) - 1, 1)[:, :count]
        near = np.take_along_axis(close, first, 1)
        order = np.argsort(-near, 1, kind="stable")
        numbers.append(np.take_along_axis(first, order, 1))
        cosines.append(np.take_along_axis(near, order, 1))
    return np.concatenate(numbers), np.concatenate(cosines)


def _centred(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(0)
    unit: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def unsaid(
    numbers: np.ndarray, cosines: np.ndarray, texts: Sequence[str], words: Sequence[str], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of the words nearest to each text, those that it does not say itself.

    Args:
        numbers: int64 (texts, found), nearest first, of :func:`nearest`.
        cosines: float32 (texts, found).
        texts: in lower case or not.
        words: what the numbers stand for.
        count: how many of each; where fewer are left, the last found fills up.

    Returns:
        Their numbers, int64 (texts, count), and their cosines, float32.

    >>> words = ["printers", "driver", "paper"]
    >>> unsaid(np.array([[0, 1, 2]]), np.ones((1, 3)), ["which printer?"], words, 2)[0].tolist()
    [[1, 2]]
    """
    kept = np.empty((len(numbers), count), int)
    last = numbers.shape[1] - 1
    for row, text in enumerate(texts):
        said: dict[str, list[str]] = {}
        for word in words_of(text.split()):
            said.setdefault(word[:_STEM], []).append(word)
        left = [
            place
            for place, number in enumerate(numbers[row])
            if not any(_same(words[number], one) for one in said.get(words[number][:_STEM], ()))
        ]
        kept[row] = (left + [last] * count)[:count]
    return np.take_along_axis(numbers, kept, 1), np.take_along_axis(cosines, kept, 1)


def _same(one: str, other: str) -> bool:
    """Whether two words differ in nothing but how they end, roughly."""
    start = max(_STEM, max(len(one), len(other)) - _ENDING)
    return one[:start] == other[:start]
