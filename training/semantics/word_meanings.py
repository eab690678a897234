"""What single words mean, weighed by how much they tell.

The sum of its words' meanings says nearly as well what a page is about as the encoder that reads it
does, if words that are everywhere count for little.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

_WORD = re.compile(r"[a-z][a-z'-]*|[0-9][0-9.,]*")
# A word that makes up this share of all words counts half.
_HALF_TOLD = 1e-3


def split(text: str) -> list[str]:
    """The words of a text, in lower case.

    >>> split("(The 2nd File-name, 3.5)")
    ['the', '2', 'nd', 'file-name', '3.5']
    """
    return _WORD.findall(text.lower())


class WordMeanings:
    """Vectors of words.

    Args:
        texts: what is written on pages; words that occur in them once are not known.
        understand: unit vectors, float32 (texts, encoder's dim).
        basis: float32 (encoder's dim, dim), of a :class:`~.meaning.Space`.

    Source:
        Arora et al., A Simple but Tough-to-Beat Baseline for Sentence Embeddings (2017).
    """

    def __init__(
        self,
        texts: Iterable[Sequence[str]],
        understand: Callable[[Sequence[str]], np.ndarray],
        basis: np.ndarray,
    ) -> None:
        used = Counter(word for text in texts for part in text for word in split(part))
        words = sorted(word for word, count in used.items() if count > 1)
        said = understand(words)
        shares = np.array([used[word] for word in words]) / max(1, used.total())
        told = (said - said.mean(0)) @ basis * (_HALF_TOLD / (_HALF_TOLD + shares))[:, None]
        size = np.sqrt((told**2).sum(1).mean())
        self._vectors: np.ndarray = (told / max(size, 1e-12)).astype(np.float32)
        self._rows = {word: row for row, word in enumerate(words)}

    def __call__(self, text: str) -> np.ndarray | None:
        """The sum of a text's words, float32 (dim,); None if one of letters is not known."""
        words = split(text)
        if any(word not in self._rows and word.isalpha() for word in words):
            return None
        rows = [self._rows[word] for word in words if word in self._rows]
        found: np.ndarray = self._vectors[rows].sum(0)
        return found
