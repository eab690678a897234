"""Where a piece of a word stands: what is before and behind it.

Few words are pieces of their own; most are made of pieces that are on every page. Whether a page
has the word cannot be told from its pieces, only from which stands beside which.
"""

from __future__ import annotations

import torch
from torch import Tensor

from colpali_serve.training.learning.crops import Batch

PAIRS = 1 << 15
"""Features of pairs. Two pairs in one feature make a rival too few, here and there."""
_SPREAD = 7919


def pair(first: Tensor, second: Tensor, vocabulary: int) -> Tensor:
    """The feature of a piece with the one behind it.

    Args:
        first: int64 ids.
        second: int64 ids of the same shape.
        vocabulary: number of ids; they are features themselves, those of pairs come behind.
    """
    return vocabulary + (first * _SPREAD + second) % PAIRS


def neighbours(batch: Batch) -> tuple[Tensor, Tensor]:
    """The pieces before and behind each query token where both stand so on its page.

    Returns:
        Ids int64 (queries, length) of the one before and of the one behind; -1 where the query
        begins or ends, or goes on elsewhere.
    """
    instance = batch.query_instance
    following = (instance[:, 1:] == instance[:, :-1] + 1) & (instance[:, :-1] >= 0)
    before, after = torch.full_like(instance, -1), torch.full_like(instance, -1)
    before[:, 1:] = torch.where(following, batch.query_ids[:, :-1], -1)
    after[:, :-1] = torch.where(following, batch.query_ids[:, 1:], -1)
    return before, after


def same(batch: Batch, token: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Which patches show which tokens between the same neighbours.

    Args:
        batch: its patches and what they show.
        token: int64 (tokens,): ids, below 0 for those that nothing shows.
        before: int64 (tokens,): what must stand before it; below 0 for anything.
        after: int64 (tokens,): what must stand behind it; below 0 for anything.

    Returns:
        Tokens, and places in `piece_patch`: two int64 arrays of one length.
    """
    pieces = batch.pieces
    nothing = pieces.new_full((1,), -1)
    earlier = torch.cat([nothing, pieces[:-1]])[batch.piece_instance]
    later = torch.cat([pieces[1:], nothing])[batch.piece_instance]
    found = token[:, None] == pieces[batch.piece_instance]
    found &= (before < 0)[:, None] | (before[:, None] == earlier)
    found &= (after < 0)[:, None] | (after[:, None] == later)
    row, place = found.nonzero(as_tuple=True)
    return row, place


def shown(batch: Batch, crops: int, vocabulary: int) -> Tensor:
    """What each crop shows: pieces, and pairs of them.

    Returns:
        bool (crops, vocabulary + PAIRS).
    """
    features = torch.zeros(crops, vocabulary + PAIRS, dtype=torch.bool, device=batch.pieces.device)
    crop = batch.piece_patch // batch.places.shape[1]
    piece = batch.pieces[batch.piece_instance]
    features[crop, piece] = True
    later = torch.cat([batch.pieces[1:], batch.pieces[-1:]])[batch.piece_instance]
    features[crop, pair(piece, later, vocabulary)] = True
    return features
