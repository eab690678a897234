"""Words that tell pages apart, and the nearest of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.semantics import related
from colpali_serve.training.semantics.related import nearest, telling, unsaid


def test_words_on_few_or_on_most_pages_tell_nothing() -> None:
    pages = [["the", "Driver,", "x11"] if number < 3 else ["the"] for number in range(30)]
    pages[0] = [*pages[0], "once", "ox", "ox"]
    assert telling(pages) == ["driver"]
    assert telling(pages[:3]) == []
    assert telling([]) == []


@given(st.integers(1, 30), st.integers(2, 12), st.integers(1, 15), st.integers(0, 99))
def test_nearest_are_those_of_the_largest_cosine(
    texts: int, words: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    asked = rng.normal(size=(texts, 6)).astype(np.float32) + 3
    said = rng.normal(size=(words, 6)).astype(np.float32) - 5
    numbers, cosines = nearest(asked, said, count)
    assert numbers.shape == cosines.shape == (texts, min(count, words))
    one, two = asked - asked.mean(0), said - said.mean(0)
    for row in range(texts):
        expected = [
            float(one[row] @ other / max(np.linalg.norm(one[row]) * np.linalg.norm(other), 1e-12))
            for other in two
        ]
        np.testing.assert_allclose(cosines[row], sorted(expected)[::-1][:count], atol=1e-5)
        np.testing.assert_allclose([expected[n] for n in numbers[row]], cosines[row], atol=1e-5)


def test_many_texts_are_taken_in_parts() -> None:
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(related._TEXTS_AT_ONCE + 3, 4)).astype(np.float32)
    words = rng.normal(size=(5, 4)).astype(np.float32)
    numbers, _ = nearest(texts, words, 1)
    close = (texts - texts.mean(0)) @ related._centred(words).T
    assert (numbers[:, 0] == close.argmax(1)).all()


def test_words_that_a_text_says_are_passed_over() -> None:
    words = ["printers", "printer", "driver", "paper", "drive"]
    numbers = np.array([[1, 0, 3, 2, 4], [4, 2, 0, 1, 3]])
    cosines = np.linspace(0.9, 0.1, 10, dtype=np.float32).reshape(2, 5)
    texts = ["Printing with my printer?", "what drives the drivers"]
    found, close = unsaid(numbers, cosines, texts, words, 3)
    assert found.tolist() == [[3, 2, 4], [0, 1, 3]]
    assert close.tolist() == [cosines[0, 2:].tolist(), cosines[1, 2:].tolist()]
    # Too few are left: the last of all fills up.
    assert unsaid(numbers[:1], cosines[:1], texts[:1], words, 4)[0].tolist() == [[3, 2, 4, 4]]


def test_a_form_of_a_word_is_no_other_word() -> None:
    words, texts = ["printers", "data"], ["which printer has a database?"]
    assert unsaid(np.array([[0, 1]]), np.ones((1, 2)), texts, words, 1)[0].tolist() == [[1]]
