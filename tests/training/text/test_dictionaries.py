"""Definitions out of dictd's files, synonym sets out of WordNet's."""

from __future__ import annotations

import gzip
import string
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.text.dictionaries import Synset, _number, definitions, synsets
from colpali_serve.training.text.documents import Section

DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
NOUN = (
    "  1 This software and database is being provided to you\n"
    "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 02083346 n 0000 | "
    'a member of the genus Canis; "the dog barked all night"\n'
)
ADJECTIVE = '00001740 00 a 02 able(p) 0 capable 0 000 | having the means; "able to swim"\n'


def digits(value: int) -> str:
    """The inverse of what is tested: a number in dictd's digits."""
    found = DIGITS[value % 64]
    while value := value // 64:
        found = DIGITS[value % 64] + found
    return found


def dictionary(folder: Path, entries: list[tuple[str, str]]) -> Path:
    """An index with its compressed body; entries are apart in it, as dictd allows."""
    body, lines = b"", []
    for word, text in entries:
        body += b"~~~"
        lines.append(f"{word}\t{digits(len(body))}\t{digits(len(text.encode()))}")
        body += text.encode()
    index = folder / "tiny.index"
    index.write_text("\n".join(lines) + "\n")
    index.with_suffix(".dict.dz").write_bytes(gzip.compress(body))
    return index


def test_definitions_are_cut_out_of_the_body(tmp_path: Path) -> None:
    index = dictionary(
        tmp_path,
        [
            ("00-database-short", "The tiny dictionary"),
            ("copper", 'Copper \\Cop"per\\ [OE. coper]\n  A {metal} of <b>reddish</b> colour.'),
            ("caf\u00e9", "A place \u2014 for coffee. " * 40),
        ],
    )
    copper, cafe = definitions(index)
    assert copper == Section("copper", 'Copper Cop"per A metal of reddish colour.')
    # Offsets count bytes, not characters.
    assert cafe.heading == "caf"
    assert cafe.text == " ".join(["A place - for coffee."] * 40)


@given(st.integers(0, 2**40))
def test_numbers_are_written_in_base_64(value: int) -> None:
    assert _number(digits(value)) == value


def test_synonym_sets(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(NOUN)
    (tmp_path / "data.verb").write_text("")
    (tmp_path / "data.adj").write_text(ADJECTIVE)
    (tmp_path / "data.adv").write_text("00001740 02 r 01 a_cappella 0 000 | without instruments\n")
    assert list(synsets(tmp_path)) == [
        Synset(("dog", "domestic dog", "Canis familiaris"), "a member of the genus Canis", "n"),
        Synset(("able", "capable"), "having the means", "a"),
        Synset(("a cappella",), "without instruments", "r"),
    ]
