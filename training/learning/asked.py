"""What is asked of a batch of crops: runs of their words, questions about whole pages."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from colpali_serve.training.learning.labels import Labels
from colpali_serve.training.semantics.asker import Asker

QUERY_PADS = 10
"""Pad tokens that ColPaliProcessor writes behind every query."""
LONGEST_QUESTION = 30
"""Tokens of a question that are asked, at most."""
NOT_TEXT, NOT_FROM_PAGE = -1, -2
"""Instances of query tokens: bos and pads; words that were asked but not taken from a page."""
_LONGEST_RUN = 16


@dataclass(frozen=True, slots=True)
class Query:
    """A query about a crop.

    Attributes:
        crop: its number in the batch.
        ids: tokens, without bos and pads.
        instances: the piece in the batch that each token was taken from, or
            :data:`NOT_FROM_PAGE`.
    """

    crop: int
    ids: list[int]
    instances: list[int]


class QueryMaker:
    """Asks about crops.

    Args:
        tokenizer: splits questions; gives bos, pads and punctuation.
        asker: makes the questions; without one none are asked.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, asker: Asker | None = None) -> None:
        self._asker, self._core = asker, tokenizer.backend_tokenizer
        self._pad, self._bos = int(tokenizer.pad_token_id), int(tokenizer.bos_token_id)
        self._marks = frozenset(
            number
            for piece, number in tokenizer.get_vocab().items()
            if not any(character.isalnum() for character in piece.removeprefix("##"))
        )

    def runs(
        self, rng: random.Random, count: int, crop: int, page: Labels, inside: np.ndarray, base: int
    ) -> list[Query]:
        """Queries of one to five words that follow each other in a crop.

        Args:
            rng: where the choices come from.
            count: how many, at most: a run of nothing but punctuation is none.
            crop: the crop's number in the batch.
            page: what the crop's page shows.
            inside: bool (words,): which of the page's words lie within the crop.
            base: number in the batch of the page's first piece.
        """
        words = np.nonzero(inside)[0]
        first = np.searchsorted(page.piece_words, np.arange(len(page.words) + 1))
        found = []
        for _ in range(count):
            wanted = rng.choice([1, 1, 2, 3, 4, 5])
            start = rng.randrange(len(words))
            with_marks = rng.random() < 0.1
            ids, instances = list[int](), list[int]()
            for number in range(start, min(start + wanted, len(words))):
                if number > start and words[number] != words[number - 1] + 1:
                    break
                ours = range(first[words[number]], first[words[number] + 1])
                said = [at for at in ours if int(page.pieces[at]) not in self._marks]
                # What stands within a word, as in 12-34, is asked with it.
                for piece in ours if with_marks else range(*_ends(said)):
                    ids.append(int(page.pieces[piece]))
                    instances.append(base + piece)
            if ids:
                found.append(Query(crop, ids[:_LONGEST_RUN], instances[:_LONGEST_RUN]))
        return found

    def questions(
        self, rng: random.Random, count: int, crop: int, text: Sequence[str]
    ) -> list[Query]:
        """Questions about a whole page; which of its pieces they mean is not said.

        Args:
            rng: where the choices come from.
            count: how many, at most: about some pages there is little to ask.
            crop: the page's number in the batch.
            text: its words in reading order.
        """
        if self._asker is None:
            return []
        found = []
        for _ in range(count):
            question = self._asker.question(rng, text)
            ids = self._core.encode(question, add_special_tokens=False).ids[:LONGEST_QUESTION]
            if ids:
                found.append(Query(crop, list(ids), [NOT_FROM_PAGE] * len(ids)))
        return found

    def tensors(self, queries: Sequence[Query]) -> dict[str, Tensor]:
        """Queries as the batch has them: `query_ids`, `query_mask`, `query_instance`, `query_crop`.

        Args:
            queries: in the order of the rows.
        """
        ids, mask = padded([query.ids for query in queries], self._bos, self._pad)
        instance = torch.full(ids.shape, NOT_TEXT)
        for row, query in enumerate(queries):
            instance[row, 1 : len(query.ids) + 1] = torch.tensor(query.instances)
        crops = torch.tensor([query.crop for query in queries], dtype=torch.int64)
        return {
            "query_ids": ids, "query_mask": mask, "query_instance": instance, "query_crop": crops,
        }  # fmt: skip


def _ends(places: Sequence[int]) -> tuple[int, int]:
    return (places[0], places[-1] + 1) if places else (0, 0)


def padded(queries: Sequence[Sequence[int]], bos: int, pad: int) -> tuple[Tensor, Tensor]:
    """Queries in the form that ColPaliProcessor gives them: bos, tokens, pads.

    Args:
        queries: token ids of each.
        bos: token that comes first.
        pad: token that comes behind, :data:`QUERY_PADS` times, and that fills shorter rows.

    Returns:
        Ids int64 (queries, length), and bool of that shape, true for real tokens.

    >>> padded([[7, 8], [9]], 2, 0)[0][:, :5].tolist()
    [[2, 7, 8, 0, 0], [2, 9, 0, 0, 0]]
    """
    length = 1 + max(map(len, queries), default=1) + QUERY_PADS
    ids = torch.full((len(queries), length), pad)
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for row, tokens in enumerate(queries):
        ids[row, : len(tokens) + 1] = torch.tensor([bos, *tokens])
        mask[row, : len(tokens) + 1 + QUERY_PADS] = True
    return ids, mask
