"""What is asked of the model: read the pieces, match them, tell the pages apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from torch import Tensor, nn

from colpali_serve.training.learning import context
from colpali_serve.training.learning.asked import NOT_TEXT
from colpali_serve.training.learning.crops import Batch
from colpali_serve.training.learning.labels import NO_LETTER
from colpali_serve.training.learning.memory import Rivals, best

# Patches whose pieces and letters are asked for in one batch, and that look for their token: more
# cost time and teach little.
_READ_PATCHES, _MATCHED_PATCHES = 2400, 2000
# Of the patches without text, this share is asked for too.
_BLANK_SHARE = 0.1
# Queries that a batch ranks its crops by.
_RANKING_QUERIES = 48
_NEVER = -1e4


class Heads(nn.Module):
    """What training needs and the checkpoint does not: two readers and two temperatures.

    Args:
        hidden: width of the towers.
        pieces: size of the vocabulary; one class more stands for no text.
    """

    def __init__(self, hidden: int, pieces: int) -> None:
        super().__init__()
        self.piece = nn.Linear(hidden, pieces + 1)
        self.letter = nn.Linear(hidden, NO_LETTER + 1)
        self.match_scale = nn.Parameter(torch.tensor(15.0).log())
        self.page_scale = nn.Parameter(torch.tensor(4.0).log())

    @property
    def dtype(self) -> torch.dtype:
        """What the heads compute in, and the large products of the losses."""
        return self.piece.weight.dtype


@dataclass(frozen=True)
class Weights:
    """How much each loss counts."""

    reading: float
    matching: float
    ranking: float


def _soft_cross_entropy(
    logits: Tensor, row: Tensor, column: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy with several right classes a row, weighted; rows without any: the last class.

    Returns:
        The mean loss, and the share of rows with text whose likeliest class is a right one.
    """
    target = torch.zeros(logits.shape, device=logits.device)
    target.index_put_((row, column), share, accumulate=True)
    total = target.sum(1)
    target[:, -1] += (total == 0).float()
    target /= target.sum(1, keepdim=True)
    loss = -(target * F.log_softmax(logits.float(), -1)).sum(1).mean()
    right = target.gather(1, logits.argmax(1, keepdim=True))[:, 0] > 0
    return loss, _mean(right[total > 0].float())


def _mean(values: Tensor) -> Tensor:
    """The mean, 0 of no values: a batch may come without queries, and its other losses count."""
    return values.sum() / max(1, values.numel())


def reading(
    heads: Heads, seen: Tensor, output: Tensor, batch: Batch
) -> tuple[Tensor, dict[str, Tensor]]:
    """Which pieces a patch shows, asked of the language model; which letters, of the vision tower.

    Args:
        heads: the two readers.
        seen: (crops, patches, hidden) of the vision tower.
        output: (crops, patches, hidden) of the language model, prompt left out.
        batch: the labels.
    """
    patches = seen.shape[0] * seen.shape[1]
    asked = torch.rand(patches, device=seen.device) < _BLANK_SHARE
    asked[batch.piece_patch] = True
    chosen = asked.nonzero()[:, 0]
    if len(chosen) > _READ_PATCHES:
        chosen = chosen[torch.randperm(len(chosen), device=chosen.device)[:_READ_PATCHES]]
    row_of = torch.full((patches,), -1, device=seen.device)
    row_of[chosen] = torch.arange(len(chosen), device=seen.device)
    figures = {}
    total = seen.new_zeros((), dtype=torch.float32)
    for name, head, rows, patch, label, share in (
        ("pieces", heads.piece, output, batch.piece_patch, batch.pieces[batch.piece_instance],
         batch.piece_share),
        ("letters", heads.letter, seen, batch.letter_patch, batch.letter, batch.letter_share),
    ):  # fmt: skip
        row = row_of[patch]
        kept = row >= 0
        loss, right = _soft_cross_entropy(
            head(rows.flatten(0, 1)[chosen]), row[kept], label[kept], share[kept]
        )
        total = total + loss
        figures[f"{name} loss"], figures[f"{name} right"] = loss.detach(), right
    return total, figures


@dataclass(frozen=True)
class Matched:
    """Query tokens against every vector of every crop, shared by two losses.

    Attributes:
        queries: float32 (tokens, dim): the query vectors that are no padding.
        query_of: int64 (tokens,): their query.
        token: int64 (tokens,): id; -1 for bos and pads.
        instance: int64 (tokens,): the piece in the batch; below 0 for those taken from none.
        pair: int64 (tokens,): the feature of the token and the one behind it; -1 where the page
            has something else behind it.
        alike: bool (tokens, vectors): which vectors' patches show the token where it stands:
            between the same neighbours, as far as the query has these.
        shown: bool (crops, features): what each crop shows, see :mod:`.context`.
    """

    queries: Tensor
    query_of: Tensor
    token: Tensor
    instance: Tensor
    pair: Tensor
    alike: Tensor
    shown: Tensor


def match(batch: Batch, queries: Tensor, vectors: Tensor, vocabulary: int) -> Matched:
    """Gather what :func:`matching` and :func:`ranking` need.

    Args:
        batch: the labels.
        queries: float32 (queries, length, dim).
        vectors: float32 (crops, vectors, dim).
        vocabulary: number of token ids.
    """
    crops, per_crop, _ = vectors.shape
    patches = batch.places.shape[1]
    flat = batch.query_mask.flatten().nonzero()[:, 0]
    before, after = (side.flatten()[flat] for side in context.neighbours(batch))
    instance = batch.query_instance.flatten()[flat]
    token = torch.where(instance != NOT_TEXT, batch.query_ids.flatten()[flat], -1)
    pair = torch.where(after >= 0, context.pair(token, after, vocabulary), -1)
    column = (batch.piece_patch // patches) * per_crop + batch.piece_patch % patches
    alike = torch.zeros(len(flat), crops * per_crop, dtype=torch.bool, device=vectors.device)
    row, place = context.same(batch, token, before, after)
    alike[row, column[place]] = True
    return Matched(
        queries.flatten(0, 1)[flat],
        flat // queries.shape[1],
        token,
        instance,
        pair,
        alike,
        context.shown(batch, crops, vocabulary),
    )


def matching(
    heads: Heads, batch: Batch, matched: Matched, vectors: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """A token finds a patch that shows it, and a patch finds its token, among all in the batch.

    Vectors that show the same piece elsewhere are wrong if it has other neighbours there than in
    the query, or else neither right nor wrong: of a word's pieces alone a page cannot be told.
    """
    _, per_crop, dim = vectors.shape
    patches = batch.places.shape[1]
    asked = (matched.instance >= 0).nonzero()[:, 0]
    alike = matched.alike[asked]
    flat = vectors.reshape(-1, dim)
    scores = (matched.queries[asked].to(heads.dtype) @ flat.to(heads.dtype).T).float()
    scores = scores * heads.match_scale.exp()
    row_of = torch.full((len(batch.pieces),), -1, device=flat.device)
    row_of[matched.instance[asked]] = torch.arange(len(asked), device=flat.device)
    row = row_of[batch.piece_instance]
    kept = row >= 0
    column = (batch.piece_patch // patches) * per_crop + batch.piece_patch % patches
    right = torch.zeros_like(alike)
    right[row[kept], column[kept]] = True
    has = right.any(1)

    best = torch.logsumexp(scores.masked_fill(~right, _NEVER), 1)
    others = torch.logsumexp(scores.masked_fill(alike, _NEVER), 1)
    to_patch = _mean(F.softplus(others - best)[has])

    shown = right.any(0).nonzero()[:, 0]
    if len(shown) > _MATCHED_PATCHES:
        shown = shown[torch.randperm(len(shown), device=shown.device)[:_MATCHED_PATCHES]]
    best = torch.logsumexp(scores[:, shown].masked_fill(~right[:, shown], _NEVER), 0)
    others = torch.logsumexp(scores[:, shown].masked_fill(alike[:, shown], _NEVER), 0)
    to_token = _mean(F.softplus(others - best))

    found = alike.gather(1, scores.argmax(1, keepdim=True))[:, 0]
    figures = {
        "token loss": to_patch.detach(),
        "patch loss": to_token.detach(),
        "tokens found": _mean(found[has].float()),
    }
    return to_patch + 0.5 * to_token, figures


def ranking(
    heads: Heads, batch: Batch, matched: Matched, vectors: Tensor, rivals: Rivals | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """MaxSim ranks a query's own crop first; crops that show all of it are left out.

    Args:
        heads: holds the temperature.
        batch: whose query each is.
        matched: the query vectors, and what the crops show.
        vectors: float32 (crops, vectors, dim).
        rivals: pages that are ranked beside the crops.
    """
    crops, per_crop, dim = vectors.shape
    queries = min(len(batch.query_crop), _RANKING_QUERIES)
    asked = (matched.query_of < queries).nonzero()[:, 0]
    owner = matched.query_of[asked]
    columns = vectors.reshape(-1, dim).to(heads.dtype).T
    similar = matched.queries[asked].to(heads.dtype) @ columns
    highest = similar.view(len(asked), crops, per_crop).amax(2).float()
    shows = matched.alike[asked].view(-1, crops, per_crop).any(2)
    if rivals is not None and len(rivals.vectors):
        highest = torch.cat([highest, best(matched.queries[asked], rivals)], 1)
        token, pair = matched.token[asked], matched.pair[asked]
        theirs = rivals.shows[:, token] & (rivals.shows[:, pair] | (pair < 0))
        shows = torch.cat([shows, theirs.T], 1)
    scores = highest.new_zeros(queries, highest.shape[1]).index_add_(0, owner, highest)

    text = matched.token[asked] >= 0
    present = torch.zeros_like(scores)
    present.index_add_(0, owner[text], shows[text].float())
    one = highest.new_ones(len(owner[text]))
    pieces = highest.new_zeros(queries).index_add_(0, owner[text], one)
    own = batch.query_crop[:queries]
    also = present >= pieces[:, None] - 0.5
    also[torch.arange(queries, device=also.device), own] = False
    logits = (scores * heads.page_scale.exp()).masked_fill(also, _NEVER)
    loss = _mean(F.cross_entropy(logits, own, reduction="none"))
    right = _mean((logits.argmax(1) == own).float())
    return loss, {"rank loss": loss.detach(), "ranked first": right}
