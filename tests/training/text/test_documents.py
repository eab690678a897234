"""Documents keep their words on the way to disk and back."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.text import documents
from colpali_serve.training.text.documents import Document, Section, tidy


@given(st.text(max_size=60))
def test_tidy_text_is_one_line_of_ascii(text: str) -> None:
    found = tidy(text)
    assert all(" " <= character <= "~" for character in found)
    assert found == found.strip() == " ".join(found.split())
    assert tidy(found) == found


def test_typographic_characters_become_plain_ones() -> None:
    assert tidy("\u2018a\u2019 \u201cb\u201d \u2013 \u2014 c\u2026\u00a0d \u2022 e") == (
        "'a' \"b\" - - c... d - e"
    )


def test_words_are_counted_over_all_sections() -> None:
    assert Document("s", "t", (Section("a b", "one two"), Section("", "three"))).words() == 3


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = [
        Document("one", "A title", (Section("h", 'quotes " and \\ too'), Section("", "x"))),
        Document("two", "", ()),
    ]
    path = tmp_path / "d.jsonl"
    assert documents.write(iter(made), path) == 2
    assert list(documents.read(path)) == made
