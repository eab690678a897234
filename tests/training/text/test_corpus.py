"""From files to documents, without what the evaluation asks about."""

from __future__ import annotations

import gzip
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.text import corpus
from colpali_serve.training.text.documents import Document, Section
from tests.training.materials import WORDS
from tests.training.text.test_dictionaries import dictionary

LONG = " ".join(WORDS)


def html(folder: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        path = folder / f"{number}.html"
        path.write_text(f"<h1>Page {number}</h1><p>{LONG}</p><h2>Empty</h2>")
        paths.append(path)
    return paths


def test_documents_have_titles_and_no_empty_sections(tmp_path: Path) -> None:
    (found,) = corpus.documents("manuals", "markup", html(tmp_path, 1), 10**9)
    assert found == Document("manuals", "Page 0", (Section("Page 0", LONG),))


def test_the_order_is_fixed_by_the_packages_name(tmp_path: Path) -> None:
    paths = html(tmp_path, 12)

    def titles(source: str, files: list[Path]) -> list[str]:
        return [document.title for document in corpus.documents(source, "markup", files, 10**9)]

    assert titles("a", paths) == titles("a", paths[::-1])
    assert titles("a", paths) != titles("b", paths)
    assert sorted(titles("a", paths)) == sorted(titles("b", paths))


def test_a_limit_of_words_ends_a_package(tmp_path: Path) -> None:
    paths = html(tmp_path, 6)
    found = list(corpus.documents("a", "markup", paths, 2 * len(WORDS)))
    assert len(found) == 2


def test_short_files_are_no_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("<p>too little</p>")
    empty = tmp_path / "b.html"
    empty.write_text("")
    assert list(corpus.documents("a", "markup", [path, empty], 100)) == []


def test_compressed_files_and_every_reader(tmp_path: Path) -> None:
    roff = tmp_path / "ls.1.gz"
    roff.write_bytes(gzip.compress(f".SH NAME\nls\n.SH USE\n{LONG}\n".encode() + b"\xff"))
    (page,) = corpus.documents("man", "roff", [roff], 10**9)
    assert [part.heading for part in page.sections] == ["NAME", "USE"]
    pod = tmp_path / "perl.pod"
    pod.write_text(f"=head1 NAME\n\n{LONG}\n")
    (page,) = corpus.documents("perl", "pod", [pod], 10**9)
    assert page.sections == (Section("NAME", LONG),)
    entries = [(word, f"{word} is a thing that has more than five words") for word in WORDS * 2]
    index = dictionary(tmp_path, [*entries, ("short", "too short")])
    pages = list(corpus.documents("dict-tiny", "dictionary", [index], 10**9))
    assert [len(page.sections) for page in pages] == [40, len(entries) - 40]
    headings = [part.heading for page in pages for part in page.sections]
    assert sorted(headings) == sorted(word for word, _ in entries)
    assert headings != [word for word, _ in entries]
    assert set(corpus.READERS) == {"markup", "roff", "pod", "dictionary"}


@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_a_text_has_a_shingle_for_each_run_of_eight(words: list[str]) -> None:
    expected = {tuple(words[start : start + 8]) for start in range(len(words) - 7)}
    assert len(corpus.shingles(" ".join(words))) == len(expected)


def test_shingles_see_words_only() -> None:
    plain = "one two three four five six seven 8"
    assert corpus.shingles("One, two -- THREE four\nfive (six) seven; 8!") == corpus.shingles(plain)
    assert corpus.shingles(plain) != corpus.shingles(plain.replace("8", "9"))


@given(start=st.integers(0, 20), length=st.integers(1, 20))
def test_exactly_the_section_that_was_asked_about_is_left_out(start: int, length: int) -> None:
    asked = "the evaluation says these very words on one of its pages and nobody else does so far"
    said = asked.split()[start : start + length]
    sections = (
        Section("first", LONG),
        Section("second", f"{LONG} {' '.join(said).title()}! {LONG}"),
        Section("third", " ".join(reversed(WORDS))),
    )
    found = corpus.without(Document("s", "t", sections), corpus.shingles(asked))
    expected = (sections[0], sections[2]) if len(said) >= 8 else sections
    assert found == Document("s", "t", expected)
