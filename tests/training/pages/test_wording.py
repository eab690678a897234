"""What pages say: the document in order, dictionary words, codes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.pages.wording import Vocabulary, Wording, is_held_out
from colpali_serve.training.text.documents import Document, Section

# One text of numbered words, so that order can be seen.
SECTIONS = tuple(
    Section(f"heading {part}", " ".join(f"{part}.{number}" for number in range(10)))
    for part in range(4)
)
DICTIONARY = ["alpha", "beta", "gamma"]


def wording(seed: int, invented: float, documents: int = 1) -> Wording:
    texts = [Document("test", "", SECTIONS)] * documents
    return Wording(random.Random(seed), Vocabulary(DICTIONARY, texts), invented)


@given(seed=st.integers(0, 500), counts=st.lists(st.integers(1, 25), min_size=1, max_size=5))
def test_running_text_is_the_document_in_order(seed: int, counts: list[int]) -> None:
    found = wording(seed, 0.0)
    words = [word for count in counts for word in found.running(count)]
    assert len(words) == sum(counts)
    text = [word for section in SECTIONS for word in section.text.split()]
    start = text.index(words[0])
    assert words == [text[(start + step) % len(text)] for step in range(len(words))]


@given(seed=st.integers(0, 200))
def test_a_page_may_be_nothing_but_words_of_the_dictionary(seed: int) -> None:
    found = wording(seed, 1.0)
    words = [*found.running(20), *found.words(5), *found.heading()]
    bare = [word.rstrip(",.:").lower() for word in words]
    # What is no word of the dictionary is a code, one in ten.
    assert sum(word in DICTIONARY for word in bare) > len(bare) / 2


def test_some_words_are_invented() -> None:
    found = wording(3, 0.4)
    text = {word for section in SECTIONS for word in section.text.split()}
    words = found.running(2000)
    assert 0.3 < sum(word not in text for word in words) / len(words) < 0.5


def test_the_same_seed_says_the_same() -> None:
    one, two, other = (wording(seed, 0.4) for seed in (1, 1, 2))
    said = [each.running(50) + each.words(10) + each.heading() for each in (one, two, other)]
    assert said[0] == said[1] != said[2]


def test_text_without_any_words_is_no_endless_search() -> None:
    texts = [Document("test", "", (Section("", ""), Section("", "")))]
    found = Wording(random.Random(0), Vocabulary(DICTIONARY, texts), 0.0)
    assert len(found.running(10)) == 10
    assert found.heading()


@given(seed=st.integers(0, 2000))
def test_codes_are_one_printable_word(seed: int) -> None:
    code = wording(seed, 0.0).code()
    assert code.isascii()
    assert code == code.strip() != ""
    assert " " not in code


def test_codes_are_of_many_kinds() -> None:
    found = wording(0, 0.0)
    codes = [found.code() for _ in range(500)]
    for mark in ("$", "%", "-", "."):
        assert any(mark in code for code in codes), mark
    assert any(code.isdigit() for code in codes)
    assert any(code.isalpha() for code in codes)


def test_one_word_in_ten_is_held_out_whatever_its_case() -> None:
    words = [f"word{number}" for number in range(5000)]
    held = [word for word in words if is_held_out(word)]
    assert 0.08 < len(held) / len(words) < 0.12
    assert all(is_held_out(word.upper()) and is_held_out(word.capitalize()) for word in held)
    # Frozen: the evaluation asks for the same words for as long as there are checkpoints.
    assert held[:3] == ["word21", "word37", "word54"]


@pytest.mark.parametrize("kept", [True, False])
def test_lone_words_are_of_the_given_dictionary_only(kept: bool) -> None:
    every = [f"word{'abcdefghij'[n % 10]}{'abcdefghij'[n // 10]}" for n in range(100)]
    chosen = [word for word in every if is_held_out(word) == kept]
    texts = [Document("test", "", SECTIONS)]
    found = Wording(random.Random(0), Vocabulary(chosen, texts), 1.0)
    drawn = {word.lower().rstrip(",.:") for word in found.running(3000)} & set(every)
    assert drawn == set(chosen)
