"""How much pads, and pieces of words, should count in a query beside its words.

Nothing is learned: what each token finds on each page is known once, and scores are sums of that.
So all there is to try is tried, on pages of real manuals and queries of three kinds about them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from colpali_serve.engine.forward import embed_batch, query_batch
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.query_weights import QueryWeights
from colpali_serve.engine.tokens import query_tokens
from colpali_serve.training.learning.page_queries import PageQueries

KINDS = ("words", "phrases", "questions")
_AROUND = (1.0, 0.7, 0.5, 0.35, 0.25, 0.2, 0.15, 0.1)
_PIECES = (0.0, 0.2, 0.4, 0.6)
_TOKENS_AT_ONCE = 2048


@dataclass(frozen=True)
class Weighed:
    """Weights, and what they are good for.

    Attributes:
        weights: how much tokens count.
        found: by kind of query the mean of 1 / rank of the page asked about, in (0, 1].
    """

    weights: QueryWeights
    found: dict[str, float]

    @property
    def mean(self) -> float:
        """Of all kinds, each counting alike."""
        return sum(self.found.values()) / len(self.found)


class Weighing:
    """Queries about pages, and what each of their tokens finds.

    Args:
        loaded: embeds the queries, as the service does.
        queries: makes them.
        vectors: bfloat16 (pages, vectors, dim), the pages that they are about.
        seed: of the queries.
        done: called with a number of pages whenever they were looked through.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        queries: PageQueries,
        vectors: Tensor,
        seed: int,
        done: Callable[[int], None],
    ) -> None:
        asked, self._answers, self._also = queries.asked(random.Random(seed), range(len(queries)))
        self._kinds = np.array([kind_of(said) for _, said in asked])
        found = [_tokens(loaded, query) for query, _ in asked]
        self._spelt = [spelt for _, some in found for spelt in some]
        self._owner = torch.tensor([number for number, (_, some) in enumerate(found) for _ in some])
        tokens = torch.cat([rows for rows, _ in found])
        best = []
        for page in vectors:
            columns = page.float().T
            parts = torch.split(tokens, _TOKENS_AT_ONCE)
            best.append(torch.cat([(part @ columns).amax(1) for part in parts]))
            done(1)
        self._best = torch.stack(best, 1)

    def weigh(self, weights: QueryWeights) -> Weighed:
        """Rank the pages by every query whose tokens count that much."""
        counted = self._best * torch.from_numpy(weights.of(self._spelt))[:, None]
        scores = counted.new_zeros(self._also.shape).index_add_(0, self._owner, counted)
        better = scores > scores.gather(1, self._answers[:, None])
        rank = 1 + (better & ~self._also).sum(1)
        return Weighed(
            weights,
            {
                kind: float((1 / rank)[torch.from_numpy(self._kinds == kind)].mean())
                for kind in KINDS
                if kind in self._kinds
            },
        )

    def tried(self) -> list[Weighed]:
        """Try everything; the first is that all tokens count alike."""
        return [
            self.weigh(QueryWeights(around, pieces))
            for around, pieces in itertools.product(_AROUND, _PIECES)
        ]


def kind_of(said: set[str]) -> str:
    """Of a query, by what a page has to say to answer it, as `PageQueries.about` tells it.

    >>> [kind_of(said) for said in ({"tea"}, {"tea", "time", "tea time"}, set())]
    ['words', 'phrases', 'questions']
    """
    if not said:
        return "questions"
    return "phrases" if any(" " in one for one in said) else "words"


@torch.inference_mode()
def _tokens(loaded: LoadedModel, query: str) -> tuple[Tensor, list[int]]:
    """Vectors of a query's tokens, float32 (tokens, dim), and how each one's word is spelt."""
    batch = query_batch(loaded, [query])
    (rows,) = embed_batch(loaded, batch)
    named = query_tokens(loaded, query, batch["input_ids"][0].numpy())
    return torch.from_numpy(rows), [token.spelt for token in named]
