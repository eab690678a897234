"""Okapi BM25 over exact text: what a search engine does with pages that it can read perfectly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Split into lower-cased alphanumeric words.

    >>> words("Save-As: file_2 (B/W)")
    ['save', 'as', 'file', '2', 'b', 'w']
    """
    return _WORD.findall(text.lower())


def bm25(
    queries: Sequence[str], pages: Sequence[str], *, k1: float = 1.5, b: float = 0.75
) -> NDArray[np.float32]:
    """Score every query against every page.

    Args:
        queries: Texts; a word that comes twice counts twice.
        pages: Texts, at least one.
        k1: How soon a repeated word stops adding.
        b: How much long pages are held back, 0 to 1.

    Returns:
        float32 (n_queries, n_pages), at least 0.

    Source:
        Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009);
        the inverse document frequency with 1 added, as in Lucene, which is never negative.
    """
    counts = [Counter(words(page)) for page in pages]
    lengths = np.array([sum(count.values()) for count in counts], np.float64)
    damping = k1 * (1 - b + b * lengths / max(lengths.mean(), 1e-9))
    weights: dict[str, NDArray[np.float64]] = {}
    scores = np.zeros((len(queries), len(pages)))
    for row, query in enumerate(queries):
        for word in words(query):
            if word not in weights:
                found = np.array([count[word] for count in counts], np.float64)
                holding = np.count_nonzero(found)
                idf = log(1 + (len(pages) - holding + 0.5) / (holding + 0.5))
                weights[word] = idf * found * (k1 + 1) / (found + damping)
            scores[row] += weights[word]
    return scores.astype(np.float32)
