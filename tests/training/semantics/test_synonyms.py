"""Related words, with an encoder that is a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from colpali_serve.training.semantics import synonyms
from colpali_serve.training.text.dictionaries import Synset
from colpali_serve.training.text.documents import Document, Section

# Degrees on a circle: the cosine of a difference is how close two words are.
ANGLES = {
    "delete": 0,
    "remove": 40,  # cosine 0.77: close
    "erase": 55,  # 0.57 to delete: close enough only where WordNet names it
    "deleting": 10,
    "garden": 180,
    "castle": 240,
}
WORDS = list(ANGLES)


def embed(texts: Sequence[str]) -> np.ndarray:
    angles = np.radians([ANGLES[text] for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def test_close_words_are_related_and_forms_come_last() -> None:
    found = synonyms.related(WORDS, {}, embed)
    assert found["delete"] == {"remove": 0.766, "deleting": 0.985}
    assert list(found["delete"]) == ["remove", "deleting"]
    assert found["erase"] == {"remove": 0.966, "deleting": 0.707}
    assert "garden" not in found


def test_words_that_wordnet_names_together_need_be_less_close() -> None:
    together = {"delete": {"erase", "garden"}}
    found = synonyms.related(WORDS, together, embed)
    assert found["delete"] == {"remove": 0.766, "erase": 0.574, "deleting": 0.985}
    assert "delete" not in found["erase"]  # it was named for one direction only


def test_more_words_than_one_block() -> None:
    words = [f"w{number}" for number in range(2100)]

    def pairs(texts: Sequence[str]) -> np.ndarray:
        # Each word is its own direction, but for the last, which is the first's.
        vectors = np.eye(len(texts), dtype=np.float32)
        vectors[-1] = vectors[0]
        return vectors

    # "w0" and "w2099" would count as forms by their first two letters.
    assert synonyms.related(words, {}, pairs) == {"w0": {"w2099": 1.0}, "w2099": {"w0": 1.0}}


def test_eight_words_at_most_and_three_forms() -> None:
    names = [f"{letter}word" for letter in "abcdefghijkl"] + [f"awords{n}" for n in range(5)]

    def same(texts: Sequence[str]) -> np.ndarray:
        return np.ones((len(texts), 1), np.float32)

    found = synonyms.related(names, {}, same)["aword"]
    forms = [other for other in found if other.startswith("aword")]
    assert (len(found), len(forms)) == (11, 3)


def test_frequent_words_are_those_that_most_documents_use() -> None:
    texts = [
        Document("s", "", (Section("River", "castle castle castle garden"),)),
        Document("s", "", (Section("", "A river, a garden; xyzzy xyzzy it it"),)),
        Document("s", "", (Section("", "RIVER"),)),
    ]
    words = ["River", "garden", "castle", "it", "unused"]
    assert synonyms.frequent(texts, words, 10) == ["river", "garden", "castle"]
    assert synonyms.frequent(texts, words, 2) == ["river", "garden"]


def test_words_are_named_together_in_both_directions() -> None:
    sets = [
        Synset(("Delete", "erase", "wipe out", "rm"), "", "v"),
        Synset(("erase", "rub"), "", "v"),
    ]
    assert synonyms.named_together(sets) == {
        "delete": {"erase"},
        "erase": {"delete", "rub"},
        "rub": {"erase"},
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = {"remove": {"delete": 0.8, "erase": 0.7}, "river": {"stream": 0.9}}
    synonyms.write(table, tmp_path / "s.json")
    assert synonyms.read(tmp_path / "s.json") == table
