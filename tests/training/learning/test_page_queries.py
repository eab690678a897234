"""Queries about real pages, and the pages that answer them too."""

from __future__ import annotations

import random

import pytest

from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.semantics.asker import Asker, pairs_of, words_of
from tests.training import materials

TEXTS = [["alpha", "Beta"], ["alpha,", "beta", "gamma"], ["delta"], ["beta", "alpha"]]


def queries(texts: list[list[str]]) -> PageQueries:
    processor = materials.model()[1]
    return PageQueries(processor, texts, Asker(materials.documents(), {}))


def test_a_page_that_says_all_of_a_query_is_no_rival(monkeypatch: pytest.MonkeyPatch) -> None:
    made = queries(TEXTS)
    monkeypatch.setattr(
        made, "about", lambda _, text: [(" ".join(text), words_of(text) | pairs_of(text))]
    )
    batch = made.batch(random.Random(0), range(4), 4, 4)
    rows = {page: row for row, page in enumerate(batch.pages)}
    also = batch.also.tolist()
    assert also[rows[0]][rows[1]]
    assert not also[rows[1]][rows[0]]
    assert not also[rows[0]][rows[3]]  # the words are there, the other way round
    assert not any(also[row][row] for row in range(len(rows)))


def test_a_phrase_is_answered_where_its_words_follow_each_other() -> None:
    text = [f"word{letter}" for letter in "abcdefghij"]
    made = queries([text])
    asked = [said for seed in range(40) for _, said in made.about(random.Random(seed), text)]
    phrases = [said for said in asked if any(" " in part for part in said)]
    assert 0 < len(phrases) < len(asked)
    assert all(phrase <= words_of(text) | pairs_of(text) for phrase in phrases)


def test_fragments_are_of_pages_and_ask_for_nothing_else() -> None:
    texts = [document.sections[0].text.split() for document in materials.documents()]
    known = set[str]().union(*(words_of(text) for text in texts))
    found = queries(texts).fragments(random.Random(0), 25)
    assert len(found) == 25
    assert all(words_of(text.split()) <= known for text in found)
