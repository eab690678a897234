"""What is asked of drawn pages: unseen words, one alone in each size, and codes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from colpali_serve.training.evaluation.drawing import DrawnPage
from colpali_serve.training.pages.canvas import Word

SIZES = ((8, 9), (9, 11), (11, 13), (13, 16), (16, 22), (22, 32), (32, 768))
"""Pixels per em of single words, from and up to."""
SHORTEST = 4
_PER_PAGE = 2
_PER_SIZE = 80


@dataclass(frozen=True, slots=True)
class Asked:
    """A query and the one page that answers it.

    Attributes:
        text: The query.
        group: "words", "size", "code", "photograph" or "turned".
        page: Place of the page.
        em: Pixels per em of a single word, in the model's image; 0 for other queries.
    """

    text: str
    group: str
    page: int
    em: float = 0.0


@dataclass(frozen=True)
class DrawnSet:
    """Drawn pages with the queries over them.

    Attributes:
        pages: Upright pages, then copies of some of them, turned.
        upright: How many are upright.
        turned: Degrees -> place of the upright page -> place of its copy.
        asked: The queries.
    """

    pages: tuple[DrawnPage, ...]
    upright: int
    turned: dict[float, dict[int, int]]
    asked: tuple[Asked, ...]

    def candidates(self, degrees: float = 0.0) -> list[int]:
        """Places of the pages that are ranked: all upright ones, some by their turned copies."""
        copies = self.turned[degrees] if degrees else {}
        return [copies.get(place, place) for place in range(self.upright)]


def ask(drawn: DrawnSet, mixed: int, photographs: int, seed: int) -> Iterator[Asked]:
    """Choose the queries of a set, two a page where it has words enough.

    Args:
        drawn: Pages, no queries yet.
        mixed: How many pages, from the first on, are asked for by unseen words.
        photographs: How many upright pages, the last ones, have a picture.
        seed: The same seed gives the same queries.

    Yields:
        Queries group by group; each is answered by one page only.
    """
    rng = random.Random(seed)
    upright = drawn.pages[: drawn.upright]
    words = [page.asked_words() for page in upright]
    for place in range(mixed):
        yield from _several(rng, sorted(words[place]), "words", place, (2, 3, 4))
    yield from _single(rng, upright, words)
    yield from _codes(rng, upright)
    for place in range(drawn.upright - photographs, drawn.upright):
        yield from _several(rng, sorted(words[place]), "photograph", place, (2, 3))
    for place in next(iter(drawn.turned.values()), {}):
        # In view however the page is turned, so that the same is asked of all of them.
        common = set(words[place])
        for copies in drawn.turned.values():
            common.intersection_update(drawn.pages[copies[place]].asked_words())
        yield from _several(rng, sorted(common), "turned", place, (2, 3, 4))


def _several(
    rng: random.Random, words: list[str], group: str, page: int, counts: Sequence[int]
) -> Iterator[Asked]:
    """Ask a page twice if it has words enough, never twice for the same word."""
    left = rng.sample(words, len(words))
    for _ in range(2):
        count = rng.choice(counts)
        if len(left) < count:
            return
        chosen, left = left[:count], left[count:]
        yield Asked(" ".join(chosen), group, page)


def _single(
    rng: random.Random, pages: Sequence[DrawnPage], words: Sequence[dict[str, Word]]
) -> Iterator[Asked]:
    """Ask for single words, about as many of every size, from as many pages as there are."""
    found = [
        Asked(text, "size", place, page.em(word))
        for place, (page, own) in enumerate(zip(pages, words, strict=True))
        for text, word in own.items()
    ]
    rng.shuffle(found)
    for least, below in SIZES:
        taken: Counter[int] = Counter()
        for asked in found:
            if least <= asked.em < below and taken[asked.page] < _PER_PAGE:
                taken[asked.page] += 1
                yield asked
                if taken.total() == _PER_SIZE:
                    break


def _codes(rng: random.Random, pages: Sequence[DrawnPage]) -> Iterator[Asked]:
    printed = Counter(
        text for page in pages for text in {word.text.strip(",.:").lower() for word in page.words}
    )
    for place, page in enumerate(pages):
        if page.kind in ("table", "form"):
            own = {w.text for w in page.legible if w.text in page.codes and len(w.text) >= SHORTEST}
            unique = sorted(text for text in own if printed[text.lower()] == 1)
            for text in rng.sample(unique, min(2, len(unique))):
                yield Asked(text, "code", place)
