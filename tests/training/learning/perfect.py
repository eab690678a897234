"""Batches for losses: three crops of four patches, and vectors that tell their pieces apart."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from torch import Tensor

from colpali_serve.training.learning import context, losses
from colpali_serve.training.learning.asked import NOT_FROM_PAGE
from colpali_serve.training.learning.crops import Batch
from colpali_serve.training.learning.losses import Matched
from colpali_serve.training.learning.memory import Rivals

PIECES, HIDDEN, DIM = 12, 16, 32
PATCHES, PROMPT = 4, 2
# Crops of four patches; the first and the third show the same two pieces.
SHOWN = ((5, 6), (5, 7), (5, 6))
QUERIES = ((0, (5, 6)), (1, (5, 7)), (2, (5, 6)))


def batch(queries: tuple[tuple[int, tuple[int, ...]], ...] = QUERIES) -> Batch:
    """Piece n of crop c is on patch n of that crop; patches 2 and 3 are blank."""
    length = 4
    ids, mask = torch.zeros(len(queries), length, dtype=torch.int64), torch.zeros(0)
    instance = torch.full((len(queries), length), -1)
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for row, (crop, tokens) in enumerate(queries):
        ids[row, 0] = 2
        for place, token in enumerate(tokens, 1):
            ids[row, place] = token
            instance[row, place] = 2 * crop + SHOWN[crop].index(token)
        mask[row, : len(tokens) + 1] = True
    patches = torch.tensor([0, 1, 4, 5, 8, 9])
    return Batch(
        pixels=torch.zeros(3, 3, 32, 32),
        places=torch.arange(4).expand(3, -1),
        piece_patch=patches,
        piece_instance=torch.arange(6),
        piece_share=torch.ones(6),
        pieces=torch.tensor([piece for crop in SHOWN for piece in crop]),
        letter_patch=patches,
        letter=torch.arange(6),
        letter_share=torch.ones(6),
        query_ids=ids,
        query_mask=mask,
        query_instance=instance,
        query_crop=torch.tensor([crop for crop, _ in queries], dtype=torch.int64),
    )


def perfect(made: Batch) -> tuple[Tensor, Tensor]:
    """Query and page vectors: a piece is its own direction, on both sides; the rest is apart."""
    queries = F.one_hot(made.query_ids, DIM).float()
    vectors = F.one_hot(torch.full((3, PATCHES + PROMPT), 20), DIM).float()
    for patch, instance in zip(made.piece_patch, made.piece_instance, strict=True):
        crop, place = divmod(int(patch), PATCHES)
        vectors[crop, place] = F.one_hot(made.pieces[instance], DIM).float()
    return queries, vectors


def value(loss: Tensor) -> float:
    return float(loss.detach())


def matched(made: Batch, queries: Tensor, vectors: Tensor) -> Matched:
    return losses.match(made, queries, vectors, PIECES)


def random_vectors(made: Batch) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(*made.query_ids.shape, DIM, generator=generator)
    vectors = torch.randn(3, PATCHES + PROMPT, DIM, generator=generator)
    return (
        F.normalize(queries, dim=-1).requires_grad_(),
        F.normalize(vectors, dim=-1).requires_grad_(),
    )


def question(crop: int, tokens: tuple[int, ...]) -> Batch:
    """A question about a crop: which pieces it means is not said."""
    made = batch(((crop, ()),))
    ids, instance = made.query_ids.clone(), made.query_instance.clone()
    ids[0, 1 : len(tokens) + 1] = torch.tensor(tokens)
    instance[0, 1 : len(tokens) + 1] = NOT_FROM_PAGE
    mask = torch.arange(ids.shape[1])[None] <= len(tokens)
    return replace(made, query_ids=ids, query_instance=instance, query_mask=mask)


def remembered(*pages: tuple[int, ...], says: tuple[int, ...] = ()) -> Rivals:
    """Pages that show pieces in a row; their vectors say those, and what else they are to say."""
    vectors = F.one_hot(torch.full((len(pages), 5), 21), DIM).to(torch.bfloat16)
    shows = torch.zeros(len(pages), PIECES + context.PAIRS, dtype=torch.bool)
    for page, pieces in enumerate(pages):
        ids = torch.tensor(pieces)
        shows[page, ids] = True
        shows[page, context.pair(ids[:-1], ids[1:], PIECES)] = True
        for place, piece in enumerate((*pieces, *says)):
            vectors[page, place] = F.one_hot(torch.tensor(piece), DIM).to(torch.bfloat16)
    return Rivals(vectors, shows)
