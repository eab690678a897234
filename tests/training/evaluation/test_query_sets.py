"""The queries that are committed, and how queries are read, checked and made."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from colpali_serve.schemas import ConfigError
from colpali_serve.training.evaluation.generated import make_phrases, make_words
from colpali_serve.training.evaluation.manuals import Manual, Page, read_manuals
from colpali_serve.training.evaluation.query_sets import (
    KINDS,
    Query,
    check_queries,
    read_queries,
    write_queries,
)
from colpali_serve.training.evaluation.wording import overlap
from tests.conftest import ROOT

LEAST = {"words": 120, "phrases": 100, "questions": 100}


def manual(key: str) -> Manual:
    return Manual(key, key, f"{key}.pdf", "0" * 64, "?", 1, 9, 1)


def page(key: str, number: int, text: str) -> Page:
    return Page(manual(key), number, text)


@pytest.mark.parametrize("kind", KINDS)
def test_ours_are_enough_and_fit_the_manuals(kind: str) -> None:
    queries = read_queries(kind)
    assert len(queries) >= LEAST[kind]
    assert len({query.text for query in queries}) == len(queries)
    manuals = {
        found.key: found for found in read_manuals(ROOT / "training/sources/evaluation.toml")
    }
    asked = Counter(query.manual for query in queries)
    assert set(asked) == set(manuals)
    assert all(count >= 3 for count in asked.values())
    for query in queries:
        assert all(number >= manuals[query.manual].first for number in query.pages)
        length = {"words": 3, "phrases": 5}.get(kind)
        assert length is None or len(query.text.split()) == length


def test_enough_questions_are_in_synonyms() -> None:
    assert sum(query.synonyms for query in read_queries("questions")) >= 36


def test_writing_and_reading(tmp_path: Path) -> None:
    queries = [Query("wo ist's?", "a", (1, 2)), Query("naïve", "b", (3,), synonyms=True)]
    write_queries("words", queries, tmp_path)
    assert read_queries("words", tmp_path) == queries


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", r"words\.json is .*expected JSON"),
        ("{}", "is no list"),
        ('[{"text": "a"}]', "query 0 of words.json has no 'manual'"),
        ('[{"text": "a", "manual": "m", "pages": []}]', "numbers of pages from 1"),
        ('[{"text": "a", "manual": "m", "pages": [0]}]', "numbers of pages from 1"),
        ('[{"text": "", "manual": "m", "pages": [1]}]', "expected a text"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "words.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_queries("words", tmp_path)


def test_a_missing_page_is_named() -> None:
    with pytest.raises(ConfigError, match="answered by page 'a#2', which is not in the set"):
        check_queries([Query("x", "a", (1, 2))], [page("a", 1, "x")])


def test_synonyms_must_not_share_words() -> None:
    pages = [page("a", 1, "Deleting files"), page("a", 2, "for good")]
    check_queries([Query("get rid of documents", "a", (1,), synonyms=True)], pages)
    check_queries([Query("delete a file", "a", (1,))], pages)
    with pytest.raises(ConfigError, match=r"shares \['delet', 'fil'\] with its page"):
        check_queries([Query("How do I delete a file?", "a", (1, 2), synonyms=True)], pages)


def test_overlap_sees_through_endings() -> None:
    shared, asked = overlap("Which copies are printed?", "Printing a copy")
    assert shared == asked == {"print", "copy"}


def test_generated_queries_are_rare_unique_and_repeatable() -> None:
    names = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]
    pages = [
        page(key, number, f"common words of every page {key}{name} {name}ness {name}{key}ly x1y")
        for key in ("aaa", "bbb")
        for number, name in enumerate(names, 1)
    ]
    for make in (make_words, make_phrases):
        queries = make(pages)
        assert queries == make(pages)
        check_queries(queries, pages)
        assert {query.manual for query in queries} == {"aaa", "bbb"}
    for query in make_words(pages):
        chosen = set(query.text.split())
        holding = [found.id for found in pages if chosen <= set(found.text.split())]
        assert holding == list(query.golds)
    for query in make_phrases(pages):
        assert [found.id for found in pages if query.text in found.text] == list(query.golds)


def test_pages_without_rare_words_get_no_query() -> None:
    assert make_words([page("a", number, "same text here") for number in range(1, 6)]) == []
    assert make_phrases([page("a", 1, "too short")]) == []
