"""Pages that stay in memory, so that they need not come along with every query."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.maxsim.backends import Scores
from colpali_serve.engine.maxsim.forms import Rows, rows_of
from colpali_serve.engine.maxsim.scorer import Prepared, Scorer
from colpali_serve.schemas import (
    EmbeddingShapeError,
    InvalidInputError,
    OverloadedError,
    PageValues,
    owner,
)

_PAGE_OVERHEAD_BYTES = 512
"""What a page takes beside its values: its id, and the objects around it."""
_MEBIBYTE = 1024**2


class Resident(NamedTuple):
    """Scores of resident pages.

    Attributes:
        ids: Of the pages, in the order of the columns.
        scores: float32 (n_queries, len(ids)).
    """

    ids: list[str]
    scores: Scores


@dataclass(frozen=True, slots=True)
class Contents:
    """What a store holds.

    Attributes:
        ids: Of the pages, in the order in which they came.
        n_vectors: Of all pages.
        size_bytes: Memory that they take.
        max_bytes: Memory that they may take.
    """

    ids: list[str]
    n_vectors: int
    size_bytes: int
    max_bytes: int


class PageStore:
    """Keeps pages packed, by id, in bounded memory; may be used from several threads at once.

    A call sees the pages that were there when it began. Pages that are put together are all
    stored, or none of them.

    Args:
        scorer: Scores them; its precision decides in which form floats are kept.
        max_bytes: Memory that pages may take.
    """

    def __init__(self, scorer: Scorer, max_bytes: int) -> None:
        self._scorer, self._max_bytes = scorer, max_bytes
        self._lock = threading.Lock()
        self._pages: dict[str, Rows] = {}
        self._size_bytes = 0
        self._version = 0  # grows with every change
        self._all: tuple[list[str], Prepared] | None = None

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def dim(self) -> int | None:
        """Width of the vectors that are there; None where there are none."""
        with self._lock:
            return self._dim()

    def contents(self) -> Contents:
        """Return what is there now."""
        with self._lock:
            vectors = sum(rows.n_vectors for rows in self._pages.values())
            copied = self._scorer.backend.copies and self._all is not None
            size = self._size_bytes * (2 if copied else 1)
            return Contents(list(self._pages), vectors, size, self._max_bytes)

    def put(self, ids: Sequence[str], pages: Sequence[PageValues]) -> None:
        """Store pages; a page whose id is there already takes the other's place.

        Args:
            ids: One a page, no two alike.
            pages: Embeddings that were checked.

        Raises:
            EmbeddingShapeError: Their width is not that of the pages that are there.
            InvalidInputError: Two pages have one id, or the pages alone are more than may be kept.
            OverloadedError: There is no room for them now.
        """
        packed = dict(zip(ids, (self._packed(page) for page in pages), strict=True))
        if len(packed) < len(ids):
            twice = next(each for each in ids if list(ids).count(each) > 1)
            raise InvalidInputError(f"{owner('page', twice)}: came twice, expected once", twice)
        more = sum(map(_size, packed.values()))
        if more > self._max_bytes:
            raise InvalidInputError(
                f"{len(packed)} pages take {_mebibytes(more)} MiB, expected at most "
                f"{_mebibytes(self._max_bytes)} MiB of resident pages"
            )
        with self._lock:
            replaced = [rows for item, rows in self._pages.items() if item in packed]
            self._check_width(packed, len(replaced))
            size = self._size_bytes + more - sum(map(_size, replaced))
            if size > self._max_bytes:
                raise OverloadedError(
                    f"{len(packed)} pages would make {_mebibytes(size)} MiB of resident pages, "
                    f"expected at most {_mebibytes(self._max_bytes)} MiB; drop some first"
                )
            self._pages |= packed
            self._size_bytes = size
            self._version, self._all = self._version + 1, None

    def drop(self, ids: Sequence[str]) -> None:
        """Forget pages.

        Raises:
            InvalidInputError: One of them is not there; then none is forgotten.
        """
        with self._lock:
            self._check_known(ids)
            for item in ids:
                if (rows := self._pages.pop(item, None)) is not None:
                    self._size_bytes -= _size(rows)
            self._version, self._all = self._version + 1, None

    def score(
        self, queries: Sequence[NDArray[np.float32]], ids: Sequence[str] | None = None
    ) -> Resident:
        """Score queries against pages that are there.

        Args:
            queries: Checked, each (n_vectors, dim), contiguous, at least one.
            ids: Which pages, no two alike; None means all.

        Raises:
            EmbeddingShapeError: The queries' width is not that of the pages.
            InvalidInputError: A page is not there, or stands in `ids` twice.
        """
        with self._lock:
            dim = self._dim()
            version = self._version
            kept = self._all if ids is None else None
            if ids is not None:
                self._check_known(ids)
            chosen = list(self._pages if ids is None else ids)
            rows = [self._pages[item] for item in chosen] if kept is None else []
        width = queries[0].shape[1]
        if dim is not None and width != dim:
            raise EmbeddingShapeError(
                f"queries have {width} dimensions, expected {dim} like the resident pages"
            )
        if not chosen:
            return Resident([], np.empty((len(queries), 0), np.float32))
        # Not under the lock: what is prepared or scored is never changed.
        prepared = self._scorer.prepare(rows) if kept is None else kept[1]
        if ids is None and kept is None:
            self._keep(chosen, prepared, version)
        return Resident(chosen, self._scorer.score_prepared(queries, prepared))

    def _keep(self, ids: list[str], prepared: Prepared, version: int) -> None:
        with self._lock:
            fits = not self._scorer.backend.copies or 2 * self._size_bytes <= self._max_bytes
            if fits and version == self._version:
                self._all = (ids, prepared)

    def _packed(self, page: PageValues) -> Rows:
        rows = rows_of(page)
        packed = self._scorer.pack(rows)
        if packed is not rows:
            return packed
        # The caller's array may change, or hang on to a whole message.
        return replace(rows, values=np.array(rows.values, copy=True))

    def _dim(self) -> int | None:
        return next((rows.dim for rows in self._pages.values()), None)

    def _check_width(self, packed: dict[str, Rows], replaced: int) -> None:
        # A store whose every page is replaced may change its width.
        dim = self._dim() if replaced < len(self._pages) else None
        for item, rows in packed.items():
            if dim is not None and rows.dim != dim:
                raise EmbeddingShapeError(
                    f"{owner('page', item)}: embedding has {rows.dim} dimensions, expected {dim} "
                    "like the other resident pages",
                    item,
                )
            dim = rows.dim

    def _check_known(self, ids: Sequence[str]) -> None:
        seen: set[str] = set()
        for item in ids:
            if item not in self._pages:
                raise InvalidInputError(
                    f"{owner('page', item)}: is not resident, expected one of the "
                    f"{len(self._pages)} pages that are",
                    item,
                )
            if item in seen:
                raise InvalidInputError(f"{owner('page', item)}: came twice, expected once", item)
            seen.add(item)


def _size(rows: Rows) -> int:
    return rows.nbytes + _PAGE_OVERHEAD_BYTES


def _mebibytes(size: int) -> str:
    return f"{size / _MEBIBYTE:.1f}"
