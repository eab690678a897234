"""From packages to one file of documents, without anything that the evaluation will ask about."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from colpali_serve.training.text.dictionaries import definitions
from colpali_serve.training.text.documents import Document, Section
from colpali_serve.training.text.manpages import pod_sections, roff_sections
from colpali_serve.training.text.markup import sections

SHINGLE_WORDS = 8
# A dictionary has one entry a page at most when read as documents; this many make one.
_ENTRIES_IN_A_DOCUMENT = 40
_WORDS = re.compile(r"[a-z0-9]+")


def _read(path: Path) -> str:
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes()).decode(errors="replace")
    return path.read_text(errors="replace")


def _one(parse: Callable[[str], tuple[Section, ...]], path: Path) -> Iterator[tuple[Section, ...]]:
    yield parse(_read(path))


def _dictionary(path: Path) -> Iterator[tuple[Section, ...]]:
    # Entries in another order than the alphabet's: a page of one letter would be easy to tell.
    entries = [entry for entry in definitions(path) if entry.text.count(" ") >= 5]
    random.Random(path.name).shuffle(entries)
    for start in range(0, len(entries), _ENTRIES_IN_A_DOCUMENT):
        yield tuple(entries[start : start + _ENTRIES_IN_A_DOCUMENT])


READERS: dict[str, Callable[[Path], Iterator[tuple[Section, ...]]]] = {
    "markup": lambda path: _one(sections, path),
    "roff": lambda path: _one(roff_sections, path),
    "pod": lambda path: _one(pod_sections, path),
    "dictionary": _dictionary,
}
"""How the files of a package become sections, by the name that sources/text.toml gives."""


def documents(source: str, reader: str, files: Iterable[Path], limit: int) -> Iterator[Document]:
    """The documents of one package, in an order that its name fixes, up to `limit` words."""
    paths = sorted(files)
    random.Random(source).shuffle(paths)
    words = 0
    for path in paths:
        for found in READERS[reader](path):
            kept = tuple(section for section in found if section.text)
            document = Document(source, found[0].heading if found else "", kept)
            if document.words() < 30:
                continue
            words += document.words()
            yield document
            if words >= limit:
                return


def shingles(text: str) -> set[int]:
    """Hashes of every run of eight words.

    >>> len(shingles("one two three four five six seven eight nine"))
    2
    """
    words = _WORDS.findall(text.lower())
    return {
        hash(tuple(words[start : start + SHINGLE_WORDS]))
        for start in range(len(words) - SHINGLE_WORDS + 1)
    }


def without(document: Document, forbidden: set[int]) -> Document:
    """The document without sections that share a run of eight words with forbidden text.

    Args:
        document: what is to be cleaned.
        forbidden: hashes that :func:`shingles` made of the evaluation's text.
    """
    kept = tuple(part for part in document.sections if forbidden.isdisjoint(shingles(part.text)))
    return Document(document.source, document.title, kept)
