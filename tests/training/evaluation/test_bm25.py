"""BM25 against a small example worked by hand."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from colpali_serve.training.evaluation.bm25 import bm25

PAGES = ["the cat sat", "the dog sat on the cat cat", "Birds."]


def test_by_hand() -> None:
    scores = bm25(["cat"], PAGES)[0]
    # Three pages of 3, 7 and 1 words, 11/3 on average; two hold "cat", once and twice.
    idf = log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    first = idf * 1 * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 3 / (11 / 3)))
    second = idf * 2 * 2.5 / (2 + 1.5 * (0.25 + 0.75 * 7 / (11 / 3)))
    assert scores.tolist() == pytest.approx([first, second, 0])


def test_words_add_up_and_unknown_ones_add_nothing() -> None:
    both = bm25(["cat", "sat", "cat SAT zebra"], PAGES)
    assert np.allclose(both[0] + both[1], both[2])


def test_case_and_punctuation_do_not_matter() -> None:
    assert bm25(["BIRDS!"], PAGES)[0].argmax() == 2


def test_an_empty_query_scores_nothing() -> None:
    assert bm25(["", "?"], PAGES).tolist() == [[0, 0, 0], [0, 0, 0]]
