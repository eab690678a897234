"""Questions learn to name words that may stand on the page of the answer, and else to be silent.

MaxSim finds the words that a query has. Ten pads follow them, and may look for whatever they like:
here the first of them learn to look for words that a sentence encoder puts nearest to the whole
question, each for what it likes of them. So "how do I get rid of a file" finds "deleting". The
other pads, and what only makes a question of the words, learn to find the same on every page.

No page is needed, only questions, and vectors of single words as a query says them: those are what
patches that show the word were trained to be near to.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from colpali_engine.models import ColPali
from torch import Tensor

from colpali_serve.training.learning.asked import QUERY_PADS
from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.learning.silence import Silence
from colpali_serve.training.model import forward

NEAREST = 20
"""Words that are known of a question; the nearest are named, the last is what the rest exceed."""
_NAMED = 8
_LEAST_SHARE = 0.02
_QUESTIONS, _FRAGMENTS, _OTHERS = 96, 48, 1500
# More names than that weigh more than the question itself.
_NAMING_PADS = 6
# How much it counts that fragments stay, beside questions, and that pads are silent, beside words.
_FRAGMENTS_WEIGH, _PADS_WEIGH = 4.0, 0.5
# Questions of one batch are about equally long: a batch is padded to its longest.
_WINDOW = 3
_SHARPNESS = 15.0
_UNLIKELY = 1e-7
_WORDS_AT_ONCE = 512


def equally_long(rng: random.Random, questions: int, count: int) -> list[int]:
    """Some of questions that are sorted by length: their numbers.

    Args:
        rng: where the choices come from.
        questions: how many there are.
        count: how many are wanted, or all there are.
    """
    window = min(_WINDOW * count, questions)
    start = rng.randrange(questions - window + 1)
    return rng.sample(range(start, start + window), min(count, window))


class Naming:
    """Losses for the query side.

    Args:
        base: the model as it is before: its words' vectors are kept.
        queries: reads questions, and asks for words and phrases of pages.
        questions: texts that are asked.
        words: that may be named; more than a batch draws at random.
        numbers: int64 (questions, NEAREST): words near to each question that it does not say,
            nearest first.
        cosines: float32 (questions, NEAREST): how near.
        silence: says which tokens of a question should be silent.
        silent: float32 (dim,): the vector of those.
    """

    def __init__(
        self,
        base: ColPali,
        queries: PageQueries,
        questions: Sequence[str],
        words: Sequence[str],
        numbers: np.ndarray,
        cosines: np.ndarray,
        silence: Silence,
        silent: Tensor,
    ) -> None:
        base.requires_grad_(False)
        self._base, self._queries = base, queries
        self._silence, self._silent = silence, silent
        order = sorted(range(len(questions)), key=lambda place: len(questions[place]))
        self._questions = [questions[place] for place in order]
        self._numbers = torch.from_numpy(numbers[order, :_NAMED])
        more = torch.from_numpy(cosines[order])
        shares = (more[:, :_NAMED] - more[:, -1:]).clamp(min=0) + _LEAST_SHARE
        self._shares = shares / shares.sum(1, keepdim=True)
        self._said = _said(base, queries, words)

    def losses(self, model: ColPali, rng: random.Random) -> dict[str, Tensor]:
        """What it costs that pads miss the words, that others move, and that some are not silent.

        Args:
            model: what learns.
            rng: where the choices come from.

        Returns:
            `named`, in nats; `moved` and `silent`, weighted sums of mean cosine distances.
        """
        some = equally_long(rng, len(self._questions), _QUESTIONS)
        texts = [self._questions[one] for one in some]
        texts += self._queries.fragments(rng, _FRAGMENTS)
        ids, mask = self._queries.tokens(texts)
        asked = forward.ask(model, ids, mask)
        with torch.no_grad():
            before = forward.ask(self._base, ids, mask)
        questions = (torch.arange(len(texts)) < len(some))[:, None]
        pads = (mask.sum(1) - QUERY_PADS)[: len(some), None] + torch.arange(QUERY_PADS)
        kept = mask.clone()
        kept[torch.arange(len(some))[:, None], pads] = False
        quiet = self._silence.tokens(texts, ids.shape[1]) & kept & questions
        away = 1 - (asked * before).sum(2)
        moved = away[kept & questions & ~quiet].mean()
        moved = moved + _FRAGMENTS_WEIGH * away[kept & ~questions].mean()
        says = asked[: len(some)].gather(1, pads[..., None].expand(-1, -1, asked.shape[2]))
        heard = _PADS_WEIGH * (1 - says[:, _NAMING_PADS:] @ self._silent).mean()
        if quiet.any():
            heard = heard + (1 - asked[quiet] @ self._silent).mean()
        named = self._missed(rng, says[:, :_NAMING_PADS], some)
        return {"named": named, "moved": moved, "silent": heard}

    def _missed(self, rng: random.Random, says: Tensor, some: Sequence[int]) -> Tensor:
        """Pads are a mixture: each says one word, and all of them say what is near.

        Args:
            rng: draws words that are not meant.
            says: float32 (questions, pads, dim).
            some: the questions' numbers.
        """
        wanted, shares = self._numbers[some], self._shares[some]
        others = rng.sample(range(len(self._said)), min(_OTHERS, len(self._said)))
        words = torch.unique(torch.cat([wanted.flatten(), torch.tensor(others)]))
        pieces = [self._said[word] for word in words.tolist()]
        owner = torch.repeat_interleave(
            torch.arange(len(words)), torch.tensor([len(one) for one in pieces])
        )
        similar = says.flatten(0, 1) @ torch.cat(pieces).T
        likely = torch.softmax(similar * _SHARPNESS, 1).view(*says.shape[:2], -1).mean(1)
        likely = likely.new_zeros(len(some), len(words)).index_add(1, owner, likely)
        named = likely.gather(1, torch.searchsorted(words, wanted))
        return -(shares * (named + _UNLIKELY).log()).sum(1).mean()


@torch.no_grad()
def _said(model: ColPali, queries: PageQueries, words: Sequence[str]) -> list[Tensor]:
    """How queries of one word say it: the vectors of its pieces, float32 (pieces, dim), each."""
    said = []
    for start in range(0, len(words), _WORDS_AT_ONCE):
        ids, mask = queries.tokens(words[start : start + _WORDS_AT_ONCE])
        lengths = (mask.sum(1) - QUERY_PADS).tolist()
        asked = forward.ask(model, ids, mask)
        said += [row[1:length].clone() for row, length in zip(asked, lengths, strict=True)]
    return said
