"""Words that may stand for a word, out of WordNet and of a sentence encoder's vectors."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from colpali_serve.training.text.dictionaries import Synset
from colpali_serve.training.text.documents import Document

_WORD = re.compile(r"[a-z]{3,}")
# Cosine from which two words count as related: lower where WordNet names them together.
_NAMED, _UNNAMED = 0.45, 0.62
_KEPT = 8


def frequent(documents: Iterable[Document], known: Iterable[str], count: int) -> list[str]:
    """The words of a dictionary that most documents use, most used first."""
    real = {word.lower() for word in known}
    used: Counter[str] = Counter()
    for document in documents:
        text = " ".join(f"{part.heading} {part.text}" for part in document.sections)
        used.update(real.intersection(_WORD.findall(text.lower())))
    return sorted(used, key=lambda word: (-used[word], word))[:count]


def named_together(synsets: Iterable[Synset]) -> dict[str, set[str]]:
    """For each word, the words that share a meaning with it in WordNet."""
    together: dict[str, set[str]] = defaultdict(set)
    for synset in synsets:
        words = {word.lower() for word in synset.words if _WORD.fullmatch(word.lower())}
        for word in words:
            together[word] |= words - {word}
    return together


def _same_word(one: str, other: str) -> bool:
    """Whether two words are forms of one: they need no synonym to find each other.

    >>> _same_word("delete", "deleting"), _same_word("delete", "remove")
    (True, False)
    """
    stem = min(len(one), len(other), 5)
    return one[:stem] == other[:stem]


def related(
    words: Sequence[str],
    together: Mapping[str, set[str]],
    embed: Callable[[Sequence[str]], np.ndarray],
) -> dict[str, dict[str, float]]:
    """The closest words of each word, with their cosine.

    A pair counts if the encoder finds it close, or finds it fairly close and WordNet names it.
    Forms of one word are kept out of the comparison and added as they are.

    Args:
        words: to be related with each other.
        together: from :func:`named_together`.
        embed: unit vectors, float32 (texts, dim).
    """
    vectors = embed(words)
    found: dict[str, dict[str, float]] = {}
    for start in range(0, len(words), 1000):
        similar = vectors[start : start + 1000] @ vectors.T
        for row, word in enumerate(words[start : start + 1000]):
            near = np.argsort(-similar[row])[:60]
            known = together.get(word, set())
            close = {
                words[column]: round(float(similar[row, column]), 3)
                for column in near
                if words[column] != word
                and similar[row, column] >= (_NAMED if words[column] in known else _UNNAMED)
            }
            others = [other for other in close if not _same_word(word, other)][:_KEPT]
            forms = [other for other in close if _same_word(word, other)][:3]
            if others or forms:
                found[word] = {other: close[other] for other in (*others, *forms)}
    return found


def write(table: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Save the table."""
    path.write_text(json.dumps(table, indent=0, sort_keys=True))


def read(path: Path) -> dict[str, dict[str, float]]:
    """The table of a file that :func:`write` made."""
    return {word: dict(others) for word, others in json.loads(path.read_text()).items()}
