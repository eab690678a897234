"""Dictionaries: definitions in dictd's format, and the synonym sets of WordNet."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from colpali_serve.training.text.documents import Section, tidy

_DIGITS = {
    character: value
    for value, character in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    )
}
_MARKS = re.compile(r"[{}\\]|\[[^\]]*\]|<[^>]*>")


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning: the words for it, the gloss that explains it, and its part of speech.

    Attributes:
        words: lower case or as names are written, with spaces.
        gloss: the explanation, without its examples.
        part: n, v, a or r (adverb).
    """

    words: tuple[str, ...]
    gloss: str
    part: str


def _number(text: str) -> int:
    value = 0
    for character in text:
        value = value * 64 + _DIGITS[character]
    return value


def definitions(index: Path) -> Iterator[Section]:
    """Headwords and definitions of a dictd dictionary.

    Args:
        index: the `.index` file; the `.dict.dz` lies beside it.
    """
    with gzip.open(index.with_suffix(".dict.dz")) as file:
        body = file.read()
    for line in index.read_text(errors="replace").splitlines():
        word, start, length = line.split("\t")[:3]
        if word.startswith("00"):  # dictd's own entries: address, licence
            continue
        offset = _number(start)
        text = body[offset : offset + _number(length)].decode(errors="replace")
        yield Section(tidy(word), tidy(_MARKS.sub("", text)))


def synsets(folder: Path) -> Iterator[Synset]:
    """The synonym sets of WordNet's `data.*` files."""
    for name in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{name}").read_text(errors="replace").splitlines():
            if line.startswith(" "):  # the licence on top
                continue
            fields, _, gloss = line.partition(" | ")
            parts = fields.split(" ")
            count = int(parts[3], 16)
            words = tuple(
                re.sub(r"\(.*\)", "", parts[4 + 2 * i]).replace("_", " ") for i in range(count)
            )
            yield Synset(words, tidy(gloss.partition('; "')[0]), name[0] if name != "adv" else "r")
