"""What single words mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from colpali_serve.training.semantics.word_meanings import WordMeanings

DIM = 12
TEXTS = [["The", "printer", "prints"], ["the", "(printer)", "jams", "the", "the"], ["jams", "once"]]


def understand(words: Sequence[str]) -> np.ndarray:
    """Each word its own direction."""
    assert words == sorted(words)
    return np.eye(DIM, dtype=np.float32)[: len(words)]


def meanings() -> WordMeanings:
    return WordMeanings(TEXTS, understand, np.eye(DIM, dtype=np.float32))


def test_a_text_means_what_its_words_do() -> None:
    made = meanings()
    both, printer, jams = made("Printer jams!"), made("printer"), made("jams")
    assert both is not None and printer is not None and jams is not None
    np.testing.assert_allclose(both, printer + jams, atol=1e-6)
    assert not np.allclose(printer, jams)


def test_words_that_are_everywhere_count_for_little() -> None:
    made = meanings()
    the, jams = made("the"), made("jams")
    assert the is not None and jams is not None
    assert np.linalg.norm(the) < 0.8 * np.linalg.norm(jams)


def test_what_is_not_known_is_said_to_be_so() -> None:
    made = meanings()
    assert made("once") is None  # one page has it, once
    assert made("jams nowhere") is None
    nothing = made("12 --")
    assert nothing is not None and not nothing.any()
