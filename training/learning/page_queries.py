"""Queries about real pages, some at a time, and which other pages answer them too."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from colpali_engine.models import ColPaliProcessor
from torch import Tensor

from colpali_serve.training.learning.asked import LONGEST_QUESTION, padded
from colpali_serve.training.semantics.asker import Asker, pairs_of, words_of

_QUERIES = 2
# Of the queries: questions, words that are rare, and the rest phrases.
_QUESTIONS, _WORDS = 0.4, 0.3


@dataclass(frozen=True)
class Batch:
    """Queries about some pages.

    Attributes:
        pages: their numbers.
        ids: int64 (queries, length).
        mask: bool (queries, length), true for real tokens.
        answer: int64 (queries,): which of `pages` each is about.
        also: bool (queries, pages): others that say all of it.
    """

    pages: list[int]
    ids: Tensor
    mask: Tensor
    answer: Tensor
    also: Tensor

    def tokens_of(self, asked: Tensor) -> Tensor:
        """The vectors that are no padding: (tokens, dim) of (queries, length, dim)."""
        return asked.flatten(0, 1)[self._real()]

    def scores(self, best: Tensor) -> Tensor:
        """MaxSim, float32 (queries, pages), of each token's best on each page."""
        owner = self._real() // self.ids.shape[1]
        return best.new_zeros(len(self.ids), best.shape[1]).index_add(0, owner, best)

    def _real(self) -> Tensor:
        return self.mask.flatten().nonzero()[:, 0]


def best_on(tokens: Tensor, pages: Iterable[Tensor], dtype: torch.dtype) -> Tensor:
    """The highest similarity of each token on each page; gradients reach the tokens alone.

    Which vector of a page is a token's best moves little in a step. Pages are taken one by one, so
    that no more than one page's similarities are held.

    Args:
        tokens: (tokens, dim).
        pages: (vectors, dim) each.
        dtype: what similarities are compared in.

    Returns:
        float32 (tokens, pages).
    """
    with torch.no_grad():
        columns = tokens.to(dtype).T.contiguous()
        nearest = [page[(page.to(dtype) @ columns).max(0).indices].float() for page in pages]
    return torch.einsum("td,tpd->tp", tokens, torch.stack(nearest, 1))


class PageQueries:
    """Asks about pages.

    Args:
        processor: whose tokens queries are made of.
        texts: the words of each page, in reading order; those of one manual one after another.
        asker: makes the questions.
    """

    def __init__(
        self, processor: ColPaliProcessor, texts: Sequence[Sequence[str]], asker: Asker
    ) -> None:
        tokenizer = processor.tokenizer
        self._core, self._asker, self._texts = tokenizer.backend_tokenizer, asker, texts
        self._pad, self._bos = int(tokenizer.pad_token_id), int(tokenizer.bos_token_id)
        self._said = [words_of(text) | pairs_of(text) for text in texts]

    def __len__(self) -> int:
        return len(self._texts)

    def batch(self, rng: random.Random, among: range, neighbours: int, count: int) -> Batch:
        """Some pages and queries about each.

        Args:
            rng: where the choices come from.
            among: pages that are taken.
            neighbours: so many in a row are taken at a time: they are hard to tell apart.
            count: how many pages, or all there are.
        """
        pages: list[int] = []
        while len(pages) < min(count, len(among)):
            start = rng.choice(among)
            near = range(start, min(start + neighbours, among.stop))
            pages += [page for page in near if page not in pages]
        pages = pages[:count]
        asked, answer, also = self.asked(rng, pages)
        ids, mask = self.tokens([text for text, _ in asked])
        return Batch(pages, ids, mask, answer, also)

    def asked(
        self, rng: random.Random, pages: Sequence[int]
    ) -> tuple[list[tuple[str, set[str]]], Tensor, Tensor]:
        """Queries about each of some pages, and who answers them.

        Args:
            rng: where the choices come from.
            pages: their numbers.

        Returns:
            The queries as :meth:`about` has them; which of `pages` each is about, int64 (queries,);
            and others that answer it too, bool (queries, pages).
        """
        asked = [
            (row, *query)
            for row, page in enumerate(pages)
            for query in self.about(rng, self._texts[page])
        ]
        also = [
            [bool(said) and row != own and said <= self._said[page]
             for row, page in enumerate(pages)]
            for own, _, said in asked
        ]  # fmt: skip
        answer = torch.tensor([own for own, _, _ in asked])
        return [(text, said) for _, text, said in asked], answer, torch.tensor(also)

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Queries as the model reads them: ids int64 and mask bool, both (queries, length)."""
        encoded = self._core.encode_batch(list(texts), add_special_tokens=False)
        return padded([one.ids[:LONGEST_QUESTION] for one in encoded], self._bos, self._pad)

    def fragments(self, rng: random.Random, count: int) -> list[str]:
        """Words and phrases of any pages, which ask for nothing else."""
        found: list[str] = []
        while len(found) < count:
            found += [text for text, said in self.about(rng, rng.choice(self._texts)) if said]
        return found[:count]

    def about(self, rng: random.Random, text: Sequence[str]) -> list[tuple[str, set[str]]]:
        """Queries about a page, and what other pages have to say to answer them too.

        Args:
            rng: where the choices come from.
            text: the page's words.
        """
        found = []
        for _ in range(_QUERIES):
            kind, said = rng.random(), set[str]()
            if kind < _QUESTIONS:
                query = self._asker.question(rng, text)
            else:
                if kind < _QUESTIONS + _WORDS:
                    chosen = self._asker.rare(rng, text, rng.choice([1, 2, 3, 3, 3]))
                    said = words_of(chosen)
                else:
                    start = rng.randrange(max(1, len(text) - 5))
                    chosen = list(text[start : start + rng.randint(3, 7)])
                    # All of these words, but in other places, do not make it the phrase.
                    said = words_of(chosen) | pairs_of(chosen)
                query = " ".join(chosen).lower()
            if self._core.encode(query, add_special_tokens=False).ids:
                found.append((query, said))
        return found
