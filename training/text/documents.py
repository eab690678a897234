"""A document: a title and sections, each with a heading and running text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SPACES = re.compile(r"\s+")
_FOREIGN = re.compile(r"[^\x20-\x7e]")
# The typographic characters that a printed page has and that fonts and tokenizer both know.
_PLAIN = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u2026": "...",
        "\u00a0": " ",
        "\u2022": "-",
    }
)


@dataclass(frozen=True, slots=True)
class Section:
    """One heading and the text below it, up to the next heading."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """What one file of a package says.

    Attributes:
        source: the package it comes from.
        title: what the document calls itself.
        sections: in reading order.
    """

    source: str
    title: str
    sections: tuple[Section, ...]

    def words(self) -> int:
        """How many words the text of all sections has."""
        return sum(section.text.count(" ") + 1 for section in self.sections)


def tidy(text: str) -> str:
    r"""ASCII on one line: what fonts and tokenizer have in common.

    >>> tidy("The\n  “first”  page…")
    'The "first" page...'
    """
    return _SPACES.sub(" ", _FOREIGN.sub("", text.translate(_PLAIN))).strip()


def write(documents: Iterable[Document], path: Path) -> int:
    """Write documents as JSON lines.

    Returns:
        How many were written.
    """
    count = 0
    with path.open("w") as file:
        for document in documents:
            record = {
                "source": document.source,
                "title": document.title,
                "sections": [[section.heading, section.text] for section in document.sections],
            }
            file.write(json.dumps(record) + "\n")
            count += 1
    return count


def read(path: Path) -> Iterator[Document]:
    """The documents of a file that :func:`write` made."""
    with path.open() as file:
        for line in file:
            record = json.loads(line)
            sections = tuple(Section(heading, text) for heading, text in record["sections"])
            yield Document(record["source"], record["title"], sections)
