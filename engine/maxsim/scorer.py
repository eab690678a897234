"""MaxSim late interaction over ragged embeddings of any form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.maxsim.arithmetic import Arithmetic, Precision, choose_arithmetic
from colpali_serve.engine.maxsim.backends import Scores, choose_backend
from colpali_serve.engine.maxsim.forms import Page, Rows, checked_queries, checked_rows
from colpali_serve.engine.maxsim.ranking import rank
from colpali_serve.schemas import Embedding, InvalidInputError

_PAGES_AT_A_TIME = 1024


class Ranking(NamedTuple):
    """The best pages of each query.

    Attributes:
        pages: int64 (n_queries, k), page indices, the best first.
        scores: float32 (n_queries, k).
    """

    pages: NDArray[np.int64]
    scores: Scores


class Prepared(NamedTuple):
    """Pages in the form in which a scorer's backend takes them, by what they are computed in."""

    n_pages: int
    batches: list[tuple[Arithmetic, list[int], Any]]


class Scorer:
    """Scores queries against pages; may be used from several threads at once.

    Args:
        backend: One of `BACKENDS`.
        precision: How exact; see `Precision`.
        threads: Of the compiled kernel.
        block_bytes: Similarities that a portable backend holds at a time.
        device: For triton and torch.

    Raises:
        ConfigError: The backend or the device is unknown or not there.
    """

    def __init__(
        self,
        backend: str = "auto",
        precision: Precision = "auto",
        threads: int = 1,
        block_bytes: int = 64 * 1024**2,
        device: str = "cpu",
    ) -> None:
        self.backend = choose_backend(
            backend, threads=threads, block_bytes=block_bytes, device=device
        )
        self.precision: Precision = precision

    def arithmetic(self, rows: Rows) -> Arithmetic:
        """Return what the dot products of some rows are computed in."""
        return choose_arithmetic(rows.form, rows.dim, self.precision, self.backend.available)

    def pack(self, rows: Rows) -> Rows:
        """Return rows as this scorer is quickest with, in no more memory."""
        return self.backend.pack(rows, self.arithmetic(rows))

    def score(self, queries: Sequence[Embedding | Any], pages: Sequence[Page]) -> Scores:
        """Score every query against every page.

        Args:
            queries: Each (n_vectors, dim), any float dtype.
            pages: Likewise, or in any other form of `Page`, mixed as they come.

        Returns:
            float32 (n_queries, n_pages).

        Raises:
            EmbeddingShapeError: An embedding has the wrong shape, dtype, width or values; the
                message has its index.
        """
        found = checked_queries(queries)
        return self.score_rows(found, checked_rows(pages, found[0].shape[1] if found else None))

    def score_rows(self, queries: Sequence[NDArray[np.float32]], pages: Sequence[Rows]) -> Scores:
        """As `score`, for embeddings that were checked.

        Args:
            queries: Contiguous, all of one width.
            pages: Of the same width.
        """
        if not queries or not pages:
            return np.empty((len(queries), len(pages)), np.float32)
        return self.score_prepared(queries, self.prepare(pages))

    def prepare(self, pages: Sequence[Rows]) -> Prepared:
        """Return pages as `score_prepared` takes them, any number of times."""
        groups: dict[Arithmetic, list[int]] = {}
        for index, rows in enumerate(pages):
            groups.setdefault(self.arithmetic(rows), []).append(index)
        batches = [
            (arithmetic, indices, self.backend.prepare([pages[i] for i in indices], arithmetic))
            for arithmetic, indices in groups.items()
        ]
        return Prepared(len(pages), batches)

    def score_prepared(self, queries: Sequence[NDArray[np.float32]], prepared: Prepared) -> Scores:
        """As `score_rows`; at least one query and one page."""
        scores = np.empty((len(queries), prepared.n_pages), np.float32)
        for arithmetic, indices, batch in prepared.batches:
            found = self.backend.score(queries, batch, arithmetic)
            if len(prepared.batches) == 1:
                return found
            scores[:, indices] = found
        return scores

    def best(
        self, queries: Sequence[Embedding | Any], pages: Iterable[Page], top_k: int
    ) -> Ranking:
        """Find the best pages of each query, holding neither all pages nor all scores.

        Args:
            queries: As in `score`.
            pages: As in `score`; an iterator is read in parts.
            top_k: How many to find, at least 1.

        Returns:
            min(top_k, n_pages) pages a query; equal scores keep the pages' order.

        Raises:
            EmbeddingShapeError: As in `score`.
            InvalidInputError: `top_k` is below 1.
        """
        if top_k < 1:
            raise InvalidInputError(f"top_k is {top_k}, expected at least 1", "top_k")
        rows = checked_queries(queries)
        dim = rows[0].shape[1] if rows else None
        best = Ranking(np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0), np.float32))
        start, source = 0, iter(pages)
        while part := list(islice(source, _PAGES_AT_A_TIME)):
            scores = self.score_rows(rows, checked_rows(part, dim, start))
            indices = np.broadcast_to(np.arange(start, start + len(part)), scores.shape)
            best = _merged(best, Ranking(indices, scores), top_k)
            start += len(part)
        return best


def _merged(first: Ranking, second: Ranking, top_k: int) -> Ranking:
    pages = np.concatenate([first.pages, second.pages], axis=1)
    scores = np.concatenate([first.scores, second.scores], axis=1)
    order = rank(scores, top_k)
    return Ranking(
        np.take_along_axis(pages, order, axis=1), np.take_along_axis(scores, order, axis=1)
    )


def maxsim(
    queries: Sequence[Embedding | Any],
    pages: Sequence[Page],
    *,
    backend: str = "auto",
    precision: Precision = "float32",
    threads: int = 1,
    block_bytes: int = 64 * 1024**2,
    device: str = "cpu",
) -> Scores:
    """Score every query against every page.

    The score is the sum over the query's vectors of their largest dot product with any of the
    page's vectors. No vector is padded with zeros, so a page's score never depends on what it is
    scored beside, and a page whose every dot product is negative keeps its negative score.

    Args:
        queries: Each (n_vectors, dim), any float dtype, at least one vector.
        pages: Likewise, of the same dim; or `Compressed`, or torch tensors.
        backend: One of `BACKENDS`.
        precision: How exact; see `Precision`.
        threads: Of the compiled kernel.
        block_bytes: Similarities that a portable backend holds at a time, in bytes.
        device: For triton and torch.

    Returns:
        float32 (n_queries, n_pages).

    Raises:
        EmbeddingShapeError: An embedding has the wrong shape, dtype, width or values; the message
            has its index.
        ConfigError: The backend does not work here.

    Source:
        Khattab and Zaharia, ColBERT (2020), section 3.3; Faysse et al., ColPali (2024).

    >>> maxsim([np.eye(2, dtype=np.float32)], [np.array([[1, 0], [0, -1]], np.float32)])
    array([[1.]], dtype=float32)
    """
    return Scorer(backend, precision, threads, block_bytes, device).score(queries, pages)
