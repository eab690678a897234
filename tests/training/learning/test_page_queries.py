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
    assert batch.questions == [""] * 4


def test_a_phrase_is_answered_where_its_words_follow_each_other() -> None:
    text = [f"word{letter}" for letter in "abcdefghij"]
    made = queries([text])
    asked = [said for seed in range(40) for _, said in made.about(random.Random(seed), text)]
    phrases = [said for said in asked if any(" " in part for part in said)]
    assert 0 < len(phrases) < len(asked)
    assert all(phrase <= words_of(text) | pairs_of(text) for phrase in phrases)


def test_what_other_words_could_answer_is_told_as_it_is_asked() -> None:
    texts = [document.sections[0].text.split() for document in materials.documents()]
    made = queries(texts)
    batches = [made.batch(random.Random(seed), range(3), 1, 2) for seed in range(20)]
    assert all(len(batch.pages) == 2 for batch in batches)
    for batch in batches:
        ids, mask = made.tokens([text or "x" for text in batch.questions])
        for row, text in enumerate(batch.questions):
            if text:
                assert not batch.also[row].any()
                length = int(mask[row].sum())
                assert batch.ids[row, :length].tolist() == ids[row, :length].tolist()
    assert any(text for batch in batches for text in batch.questions)
    assert not all(text for batch in batches for text in batch.questions)
