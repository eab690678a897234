"""Queries made from the pages' text by a fixed seed: distinctive words, and phrases."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from colpali_serve.training.evaluation.bm25 import words
from colpali_serve.training.evaluation.manuals import Page
from colpali_serve.training.evaluation.query_sets import Query

_SEED = 12
_WORDS = 3
_RAREST = 3
_SHORTEST = 4
_PHRASE = 5
_PER_MANUAL = 10
_PER_SCANNED = 20
_TRIES = 200
_PLAIN_WORD = re.compile(r"[A-Za-z]+")


def make_words(pages: Sequence[Page]) -> list[Query]:
    """Make queries of three distinctive words: ten a manual, twenty a scanned one, one a page.

    A word is distinctive if it stands on at most three of all pages, is of letters only and has
    at least four of them. The three stand together on one page only.

    Args:
        pages: The whole page set.

    Returns:
        The queries, in the order of the pages; the same at every call.
    """
    bags = {page.id: set(words(page.text)) for page in pages}
    counts = Counter(word for bag in bags.values() for word in bag)

    def make(page: Page, rng: random.Random) -> str | None:
        rare = sorted(
            word
            for word in bags[page.id]
            if counts[word] <= _RAREST and len(word) >= _SHORTEST and _PLAIN_WORD.fullmatch(word)
        )
        for _ in range(_TRIES if len(rare) >= _WORDS else 0):
            chosen = rng.sample(rare, _WORDS)
            if sum(bag.issuperset(chosen) for bag in bags.values()) == 1:
                return " ".join(chosen)
        return None

    return list(_spread(pages, make))


def make_phrases(pages: Sequence[Page]) -> list[Query]:
    """Make queries of five consecutive words: ten a manual, twenty a scanned one, one a page.

    A phrase runs over no punctuation, has at least two words of four letters or more, and stands
    on one page only.

    Args:
        pages: The whole page set.

    Returns:
        The queries, in the order of the pages; the same at every call.
    """
    counts = Counter(phrase for page in pages for phrase in set(_phrases(words(page.text))))

    def make(page: Page, rng: random.Random) -> str | None:
        tokens = page.text.split()
        for _ in range(_TRIES if len(tokens) >= _PHRASE else 0):
            start = rng.randrange(len(tokens) - _PHRASE + 1)
            chosen = tokens[start : start + _PHRASE]
            if not all(_PLAIN_WORD.fullmatch(token) for token in chosen):
                continue
            long = sum(len(token) >= _SHORTEST for token in chosen)
            if long >= 2 and counts[tuple(words(" ".join(chosen)))] == 1:
                return " ".join(chosen)
        return None

    return list(_spread(pages, make))


def _spread(
    pages: Sequence[Page], make: Callable[[Page, random.Random], str | None]
) -> Iterator[Query]:
    """Take pages of each manual in random order until enough of them gave a query."""
    made: dict[str, str] = {}
    for key in dict.fromkeys(page.manual.key for page in pages):
        # A seed of its own for each manual: adding one leaves the queries of the others alone.
        rng = random.Random(f"{_SEED} {key}")
        mine = [page for page in pages if page.manual.key == key]
        # Few manuals are scanned, and they have a row of their own.
        enough = len(made) + (_PER_SCANNED if mine[0].manual.scanned else _PER_MANUAL)
        for page in rng.sample(mine, len(mine)):
            if len(made) == enough:
                break
            text = make(page, rng)
            if text is not None:
                made[page.id] = text
    for page in pages:
        if page.id in made:
            yield Query(made[page.id], page.manual.key, (page.number,))


def _phrases(tokens: list[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(tokens[shift:] for shift in range(_PHRASE)), strict=False)
