"""Scores on a CUDA card with kernels of our own: pages stay ragged, and as small as they came."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
from numpy.typing import NDArray

from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.forms import Form, Rows
from colpali_serve.engine.maxsim.ragged import Ragged, packed, ragged, widened
from colpali_serve.engine.maxsim.triton_kernels import best_similarities, sums_over_queries
from colpali_serve.schemas import ConfigError

_OLDEST = (8, 0)
"""Compute capability from which on Triton works and cards multiply bfloat16."""
_TF32_ALWAYS = (10, 11)
"""Major compute capabilities for which Triton multiplies in TF32 whatever was once narrower, though
it is told to be exact (triton-lang/triton#10176). What comes as float32 stays it."""
_BLOCK_ROWS = 64
_SUM_VECTORS, _SUM_PAGES = 16, 64
# Neither Triton's compiler nor its interpreter says that it is for several threads.
_starting = threading.Lock()


class Tile(NamedTuple):
    """What a program of `best_similarities` works on at a time.

    These were chosen by what the compiler makes of them, registers and shared memory that every
    card has. They have not been timed on a card yet.

    Attributes:
        rows: Of a page.
        queries: Query vectors.
        dim: Values of a vector.
        warps: Of 32 threads each.
        stages: Of loading ahead.
    """

    rows: int
    queries: int
    dim: int
    warps: int
    stages: int


def tile(n_vectors: int, dim: int, narrow: bool) -> Tile:
    """Return the tile for some queries.

    Args:
        n_vectors: Query vectors of all queries.
        dim: Width of the vectors.
        narrow: Whether products are those of 16 bits, which tensor cores compute. In float32 a
            thread holds what it multiplies in registers.

    >>> tile(25, 128, narrow=True)
    Tile(rows=64, queries=32, dim=128, warps=4, stages=3)
    """
    if not narrow:
        queries, block_dim = (32, 32) if n_vectors <= 32 else (64, 16)
        return Tile(_BLOCK_ROWS, queries, block_dim, 4, 2)
    queries = next((size for size in (32, 64) if n_vectors <= size), 128)
    # Up to 128 the queries are loaded once a program, above again for each block of rows.
    block_dim = max(16, 1 << (dim - 1).bit_length()) if dim <= 128 else 64
    return Tile(_BLOCK_ROWS, queries, block_dim, 4, 3)


class TritonBackend:
    """Holds no similarities, only the best one of each query vector with each page.

    The first request for a form, a width and a tile waits for Triton's compiler, unless its cache
    on disk has them; other numbers are not compiled in.

    Args:
        block_bytes: Best similarities that are held at a time.
        device: "cuda" or "cuda:<index>"; pages live there. "cpu" in Triton's interpreter alone,
            which is for tests.

    Raises:
        ConfigError: The device is not there, is no card, or is too old a one.
    """

    name = "triton"
    copies = True
    available = frozenset({Arithmetic.FLOAT32, Arithmetic.BFLOAT16})

    def __init__(self, block_bytes: int, device: str) -> None:
        self._device, self._block_bytes = torch.device(device), block_bytes
        self._interpreted, self._widens = bool(triton.knobs.runtime.interpret), False
        if self._device.type == "cuda":
            self._widens = _capability(device)[0] in _TF32_ALWAYS
        elif not self._interpreted:
            raise ConfigError(
                f"MaxSim backend 'triton' needs a CUDA card, device is {device!r}, expected "
                "'cuda' or 'cuda:<index>'",
                "device",
            )

    def pack(self, rows: Rows, arithmetic: Arithmetic) -> Rows:
        """Return rows on the card, in no more bytes than they had."""
        return packed(rows, arithmetic, self._device)

    def prepare(self, pages: Sequence[Rows], arithmetic: Arithmetic) -> list[Ragged]:
        """Return the pages on the card, those of each form together."""
        found = ragged(pages, arithmetic, self._device)
        wide = self._widens and arithmetic is Arithmetic.FLOAT32
        return [widened(each) for each in found] if wide else found

    def score(
        self,
        queries: Sequence[NDArray[np.float32]],
        prepared: Sequence[Ragged],
        arithmetic: Arithmetic,
    ) -> NDArray[np.float32]:
        """Return float32 (n_queries, n_pages)."""
        vectors = torch.from_numpy(np.concatenate(queries)).to(self._device)
        lengths = [len(query) for query in queries]
        starts = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64, device=self._device)
        scores = np.empty((len(queries), sum(len(each.indices) for each in prepared)), np.float32)
        columns: dict[torch.dtype, tuple[torch.Tensor, torch.Tensor]] = {}
        for pages in prepared:
            dtype = _multiplied(pages.form, arithmetic)
            if dtype not in columns:
                columns[dtype] = self._rounded(vectors, dtype)
            with _starting, self._current():
                found = self._scored(*columns[dtype], starts, pages, dtype != torch.float32)
            scores[:, pages.indices] = found.cpu().numpy()
        return scores

    def _scored(
        self,
        vectors: torch.Tensor,
        factors: torch.Tensor,
        starts: torch.Tensor,
        pages: Ragged,
        narrow: bool,
    ) -> torch.Tensor:
        """Scores of the pages, float32 (n_queries, n_pages), on the card."""
        n_vectors, n_queries, n_pages = len(vectors), len(starts) - 1, len(pages.indices)
        scores = torch.empty((n_queries, n_pages), dtype=torch.float32, device=self._device)
        some = min(n_pages, max(1, self._block_bytes // (4 * n_vectors)))
        best = torch.empty(n_vectors * some, dtype=torch.float32, device=self._device)
        size = tile(n_vectors, pages.dim, narrow)
        n_blocks = triton.cdiv(n_vectors, size.queries)
        for first in range(0, n_pages, some):
            count = min(some, n_pages - first)
            best_similarities[(count * n_blocks,)](
                pages.rows,
                pages.offsets,
                pages.scales,
                vectors,
                best,
                first,
                count,
                n_vectors,
                n_blocks,
                DIM=pages.dim,
                BINARY=pages.form is Form.BINARY,
                BLOCK_ROWS=size.rows,
                BLOCK_QUERIES=size.queries,
                BLOCK_DIM=size.dim,
                num_warps=size.warps,
                num_stages=size.stages,
            )
            sums_over_queries[(n_queries * triton.cdiv(count, _SUM_PAGES),)](
                best,
                starts,
                factors,
                scores,
                first,
                count,
                n_pages,
                n_queries,
                BLOCK_VECTORS=_SUM_VECTORS,
                BLOCK_PAGES=_SUM_PAGES,
                num_warps=4,
            )
        return scores

    def _rounded(
        self, vectors: torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Query vectors in a dtype, and what the similarities of each are multiplied by."""
        if dtype == torch.float32:
            return vectors, torch.ones(len(vectors), device=self._device)
        # With a largest value of 1 every query fits into float16, whatever its range.
        peaks = vectors.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
        narrow = (vectors / peaks[:, None]).to(dtype)
        # numpy, on which the interpreter computes, has no bfloat16.
        widened = self._interpreted and dtype == torch.bfloat16
        return narrow.float() if widened else narrow, peaks

    def _current(self) -> Any:
        # Triton starts its kernels on the thread's current card.
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()


def _capability(device: str) -> tuple[int, int]:
    """Compute capability of a card that can be used."""
    if not torch.cuda.is_available():
        raise ConfigError(f"device is {device!r}, but torch finds no CUDA card", "device")
    index, count = torch.device(device).index or 0, torch.cuda.device_count()
    if index >= count:
        raise ConfigError(f"device is {device!r}, expected an index below {count}", "device")
    if (found := torch.cuda.get_device_capability(index)) < _OLDEST:
        raise ConfigError(
            f"MaxSim backend 'triton' needs compute capability 8.0, {device!r} has "
            f"{found[0]}.{found[1]}, expected 'torch' there",
            "backend",
        )
    return found


def _multiplied(form: Form, arithmetic: Arithmetic) -> torch.dtype:
    """What pages of a form are multiplied in.

    float16 has three bits more than bfloat16 at the same speed, and pages of float16, int8 and
    signs fit into it: their values are exact.
    """
    if arithmetic is Arithmetic.FLOAT32:
        return torch.float32
    return torch.bfloat16 if form is Form.BFLOAT16 else torch.float16
