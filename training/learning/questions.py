"""Questions about text that was never drawn: pages made of remembered patch vectors.

Drawing and reading a page costs a thousand times what a query costs. So that queries see many
pages, vectors of patches are remembered by the piece that they show, while crops are read anyway;
a text becomes a page by taking a remembered vector for each of its pieces. Only the query side
learns from it: what the vectors mean is settled by reading.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from colpali_engine.models import ColPali
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from colpali_serve.training.learning.asked import LONGEST_QUESTION, padded
from colpali_serve.training.learning.crops import Batch
from colpali_serve.training.learning.losses import Heads
from colpali_serve.training.model import forward
from colpali_serve.training.semantics.asker import Asker

_KEPT = 24
"""Vectors remembered of each piece."""
_BLANKS = 256
_DIM = 128
_PAGES, _RIVALS = 32, 4
_PIECES_ON_A_PAGE = 360
_BLANKS_ON_A_PAGE = 12
# How much of a piece a patch must show to stand for it.
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Questions:
    """Questions and pages as token ids.

    Attributes:
        ids: int64 (questions, length).
        mask: bool (questions, length), true for real tokens.
        pages: int64 (pages, pieces), -1 where a page has fewer.
        answer: int64 (questions,): the page that answers.
    """

    ids: Tensor
    mask: Tensor
    pages: Tensor
    answer: Tensor

    def to(self, device: torch.device) -> Questions:
        """The batch on a device."""
        parts = (self.ids, self.mask, self.pages, self.answer)
        return Questions(*(part.to(device) for part in parts))


class Examples:
    """Batches of questions, tokenised.

    Args:
        asker: makes them.
        tokenizer: splits them.
    """

    def __init__(self, asker: Asker, tokenizer: PreTrainedTokenizerFast) -> None:
        self._asker, self._core = asker, tokenizer.backend_tokenizer
        self._pad, self._bos = int(tokenizer.pad_token_id), int(tokenizer.bos_token_id)

    def _pieces(self, text: str) -> list[int]:
        return list(self._core.encode(text, add_special_tokens=False).ids)

    def batch(self, seed: int) -> Questions:
        """One batch; it depends on the seed alone."""
        rng = random.Random(seed)
        texts, asked = self._asker.batch(rng, _PAGES, _RIVALS)
        pages = torch.full((len(texts), _PIECES_ON_A_PAGE), -1)
        for row, text in enumerate(texts):
            pieces = self._pieces(text)
            # Every piece once, and what is left of the room for a second vector of some.
            distinct = list(dict.fromkeys(pieces))
            room = max(0, _PIECES_ON_A_PAGE - len(distinct))
            chosen = (distinct + rng.sample(pieces, min(room, len(pieces))))[:_PIECES_ON_A_PAGE]
            pages[row, : len(chosen)] = torch.tensor(chosen)
        questions = [self._pieces(each.question)[:LONGEST_QUESTION] for each in asked]
        ids, mask = padded(questions, self._bos, self._pad)
        return Questions(ids, mask, pages, torch.tensor([each.page for each in asked]))


class PatchBank:
    """Vectors of patches by the piece they show, the newest in place of older ones.

    Args:
        vocabulary: number of pieces.
        device: where they are kept.
        dtype: what they are kept in, and compared.
    """

    def __init__(self, vocabulary: int, device: torch.device, dtype: torch.dtype) -> None:
        self._vectors = torch.zeros(vocabulary, _KEPT, _DIM, dtype=dtype, device=device)
        self._count = torch.zeros(vocabulary, dtype=torch.int64, device=device)
        self._blank = torch.zeros(_BLANKS, _DIM, dtype=dtype, device=device)

    def remember(self, vectors: Tensor, batch: Batch) -> None:
        """Keep vectors of a batch of crops.

        Args:
            vectors: (crops, patches, dim), prompt left out.
            batch: which patch shows what.
        """
        flat = vectors.reshape(-1, _DIM).to(self._vectors.dtype)
        clear = batch.piece_share >= _LEAST_SHARE
        patch, piece = batch.piece_patch[clear], batch.pieces[batch.piece_instance[clear]]
        free = self._count[piece] < _KEPT
        anywhere = torch.randint(_KEPT, piece.shape, device=piece.device)
        slot = torch.where(free, self._count[piece], anywhere)
        last = _last(piece * _KEPT + slot)
        self._vectors[piece[last], slot[last]] = flat[patch[last]]
        seen = torch.zeros_like(self._count)
        seen[piece] = 1
        self._count = (self._count + seen).clamp(max=_KEPT)
        empty = torch.ones(len(flat), dtype=torch.bool, device=flat.device)
        empty[batch.piece_patch] = False
        blanks = flat[empty.nonzero()[:, 0][:32]]
        place = torch.randint(_BLANKS, (len(blanks),), device=flat.device)
        last = _last(place)
        self._blank[place[last]] = blanks[last]

    def pages(self, pieces: Tensor) -> tuple[Tensor, Tensor]:
        """Pages made of remembered vectors.

        Args:
            pieces: int64 (pages, pieces), -1 for none.

        Returns:
            Vectors (pages, pieces + blanks, dim), and which of them are real, bool.
        """
        known = self._count[pieces.clamp(min=0)]
        real = (pieces >= 0) & (known > 0)
        slot = (torch.rand(pieces.shape, device=pieces.device) * known).long()
        vectors = self._vectors[pieces.clamp(min=0), slot]
        place = torch.randint(_BLANKS, (len(pieces), _BLANKS_ON_A_PAGE), device=pieces.device)
        blank = torch.ones(place.shape, dtype=torch.bool, device=pieces.device)
        return torch.cat([vectors, self._blank[place]], 1), torch.cat([real, blank], 1)

    def state(self) -> dict[str, Any]:
        """What is needed to go on from here."""
        return {"vectors": self._vectors, "count": self._count, "blank": self._blank}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._vectors, self._count = state["vectors"].to(self._vectors), state["count"]
        self._blank = state["blank"].to(self._blank)


def _last(keys: Tensor) -> Tensor:
    """Where each key comes last: of several values for one place, threads would keep any."""
    distinct, which = torch.unique(keys, return_inverse=True)
    order = torch.arange(len(keys), device=keys.device)
    return torch.zeros_like(distinct).scatter_reduce(0, which, order, "amax")


def asking(
    model: ColPali, heads: Heads, bank: PatchBank, questions: Questions
) -> tuple[Tensor, dict[str, Tensor]]:
    """MaxSim ranks the page that answers before the others of the batch."""
    queries = forward.ask(model, questions.ids, questions.mask)
    pages, real = bank.pages(questions.pages)
    count, per_page, dim = pages.shape
    flat = questions.mask.flatten().nonzero()[:, 0]
    similar = queries.flatten(0, 1)[flat].to(pages.dtype) @ pages.reshape(-1, dim).T
    similar = similar.masked_fill(~real.reshape(1, -1), -1.0)
    best = similar.view(len(flat), count, per_page).amax(2).float()
    scores = best.new_zeros(len(queries), count)
    scores = scores.index_add(0, flat // queries.shape[1], best)
    logits = scores * heads.page_scale.exp()
    loss = F.cross_entropy(logits, questions.answer)
    right = (logits.argmax(1) == questions.answer).float().mean()
    return loss, {"question loss": loss.detach(), "questions answered": right}
