"""Whole pages as they were embedded a while ago: rivals for the queries of a batch.

Two whole pages fill a batch. A query that has to tell its page from one other learns little; that
it has to be found among dozens is what it will be asked for. Embeddings of earlier pages serve,
as long as the model has not moved far since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.learning.context import PAIRS

_PAGES = 48


@dataclass(frozen=True)
class Rivals:
    """Pages that are not in the batch.

    Attributes:
        vectors: (pages, vectors, dim), without gradients.
        shows: bool (pages, features): what each page shows, see :mod:`.context`.
    """

    vectors: Tensor
    shows: Tensor


class PageMemory:
    """The last pages that were embedded whole, the newest in place of the oldest.

    Args:
        vocabulary: number of pieces.
        device: where they are kept.
        dtype: what their vectors are kept in, and compared.
    """

    def __init__(self, vocabulary: int, device: torch.device, dtype: torch.dtype) -> None:
        self._vectors = torch.zeros(0, 0, 0, dtype=dtype, device=device)
        self._shows = torch.zeros(0, vocabulary + PAIRS, dtype=torch.bool, device=device)
        self._next = 0

    def remember(self, vectors: Tensor, shows: Tensor) -> None:
        """Keep pages.

        Args:
            vectors: (pages, vectors, dim), as many vectors a page in every call.
            shows: bool (pages, features): what each of them shows.

        Raises:
            ConfigError: another number of vectors than before.
        """
        pages, count, dim = vectors.shape
        if not len(self._vectors):
            self._vectors = self._vectors.new_zeros(0, count, dim)
        if self._vectors.shape[1] != count:
            expected = self._vectors.shape[1]
            raise ConfigError(f"a page of {count} vectors, expected {expected} as before")
        kept = vectors.detach().to(self._vectors.dtype)
        for page in range(pages):
            new = (kept[page : page + 1], shows[page : page + 1])
            if len(self._vectors) < _PAGES:
                self._vectors = torch.cat([self._vectors, new[0]])
                self._shows = torch.cat([self._shows, new[1]])
            else:
                self._vectors[self._next], self._shows[self._next] = new[0][0], new[1][0]
                self._next = (self._next + 1) % _PAGES

    def rivals(self) -> Rivals:
        """All that is remembered."""
        return Rivals(self._vectors, self._shows)

    def state(self) -> dict[str, Any]:
        """What is needed to go on from here."""
        return {"vectors": self._vectors, "shows": self._shows, "next": self._next}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._vectors = state["vectors"].to(self._vectors)
        self._shows = state["shows"]
        self._next = int(state["next"])


def best(queries: Tensor, rivals: Rivals) -> Tensor:
    """The highest similarity of each query vector on each remembered page.

    Only the vector that wins carries a gradient: the whole table of similarities is not kept.

    Args:
        queries: float32 (tokens, dim).
        rivals: at least one page.

    Returns:
        float32 (tokens, pages).
    """
    pages, count, dim = rivals.vectors.shape
    with torch.no_grad():
        table = queries.to(rivals.vectors.dtype) @ rivals.vectors.reshape(-1, dim).T
        won = table.view(len(queries), pages, count).argmax(2)
    chosen = rivals.vectors[torch.arange(pages, device=won.device), won]
    return torch.einsum("td,tpd->tp", queries.float(), chosen.float())
