"""Scores with torch: what is left where the kernel does not work, and CUDA cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from colpali_serve.engine.machine import cpu_has_bfloat16
from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.forms import Form, Rows, floats
from colpali_serve.schemas import ConfigError

_STEP = 64
"""Lengths of pages that are scored together are rounded up to this many vectors."""
_CACHED_BYTES = 4 * 1024**2
"""Similarities in flight on a CPU: more would leave its cache before their maximum is taken."""
_COLUMNS = 16
"""Query vectors are filled up to a multiple of these with zeros, whose maxima nobody reads: a query
of 25 takes a quarter less time then."""
_TYPES = {Arithmetic.FLOAT32: torch.float32, Arithmetic.BFLOAT16: torch.bfloat16}


class TorchBackend:
    """Scores pages of similar length together: a batched product, then maxima in pairs, in place.

    A shorter page is filled up with its own last vector, which no maximum minds; never with zeros.

    Args:
        block_bytes: Similarities that are held at a time.
        device: "cpu", "cuda" or "cuda:<index>"; packed pages live there.

    Raises:
        ConfigError: The device is not there.
    """

    name = "torch"
    copies = True

    def __init__(self, block_bytes: int, device: str = "cpu") -> None:
        self._device = torch.device(device)
        cuda = self._device.type == "cuda"
        if cuda and not torch.cuda.is_available():
            raise ConfigError(f"device is {device!r}, but torch finds no CUDA card", "device")
        self._block_bytes = block_bytes if cuda else min(block_bytes, _CACHED_BYTES)
        narrow = torch.cuda.is_bf16_supported(False) if cuda else cpu_has_bfloat16()
        wanted = {Arithmetic.FLOAT32} | ({Arithmetic.BFLOAT16} if narrow else set())
        self.available = frozenset(wanted)

    def pack(self, rows: Rows, arithmetic: Arithmetic) -> Rows:
        """Return float rows as a tensor on the device; others stay as small as they are."""
        if isinstance(rows.values, torch.Tensor) or rows.form in (Form.INT8, Form.BINARY):
            return rows
        # The array is its owner's, who may change it.
        tensor = self._tensor(rows, arithmetic).clone()
        form = Form.BFLOAT16 if arithmetic is Arithmetic.BFLOAT16 else Form.FLOAT32
        if tensor.nbytes > rows.nbytes:
            return rows
        return Rows(tensor, form, rows.n_vectors, rows.dim)

    def prepare(
        self, pages: Sequence[Rows], arithmetic: Arithmetic
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return (indices, vectors) of pages that have about the same length.

        Vectors are (n_pages, length, dim) in the arithmetic's dtype.
        """
        buckets: dict[int, list[int]] = {}
        for index, rows in enumerate(pages):
            buckets.setdefault(-(-rows.n_vectors // _STEP) * _STEP, []).append(index)
        return [
            (torch.tensor(indices), self._stacked([pages[i] for i in indices], arithmetic))
            for indices in buckets.values()
        ]

    def score(
        self,
        queries: Sequence[NDArray[np.float32]],
        prepared: Sequence[tuple[torch.Tensor, torch.Tensor]],
        arithmetic: Arithmetic,
    ) -> NDArray[np.float32]:
        """Return float32 (n_queries, n_pages)."""
        dtype = _TYPES[arithmetic]
        vectors = torch.from_numpy(np.concatenate(queries))
        width = -(-len(vectors) // _COLUMNS) * _COLUMNS
        columns = torch.zeros(vectors.shape[1], width, dtype=dtype, device=self._device)
        columns[:, : len(vectors)] = vectors.t()
        best = torch.empty(sum(len(indices) for indices, _ in prepared), width)
        for indices, pages in prepared:
            count, length, _ = pages.shape
            size = min(count, max(1, self._block_bytes // (length * width * dtype.itemsize)))
            # Of its own for every call: several may run at once.
            products = torch.empty(size, length, width, dtype=dtype, device=self._device)
            for start in range(0, count, size):
                part = pages[start : start + size]
                block = products[: len(part)]
                torch.bmm(part, columns.expand(len(part), -1, -1), out=block)
                best[indices[start : start + size]] = _column_maxima(block).float().cpu()
        starts = np.cumsum([0, *(len(query) for query in queries[:-1])])
        sums = np.add.reduceat(best.numpy()[:, : len(vectors)], starts, axis=1, dtype=np.float64)
        return np.ascontiguousarray(sums.T, np.float32)

    def _stacked(self, pages: Sequence[Rows], arithmetic: Arithmetic) -> torch.Tensor:
        length = max(rows.n_vectors for rows in pages)
        shape = (len(pages), length, pages[0].dim)
        stacked = torch.empty(shape, dtype=_TYPES[arithmetic], device=self._device)
        for target, rows in zip(stacked, pages, strict=True):
            tensor = self._tensor(rows, arithmetic)
            target[: rows.n_vectors] = tensor
            target[rows.n_vectors :] = tensor[-1]
        return stacked

    def _tensor(self, rows: Rows, arithmetic: Arithmetic) -> torch.Tensor:
        if isinstance(rows.values, torch.Tensor):
            tensor = rows.values
        elif rows.form is Form.BFLOAT16:
            tensor = _shared(rows.values).view(torch.bfloat16)
        elif rows.form is Form.FLOAT16:
            tensor = _shared(rows.values)
        else:
            tensor = _shared(floats(rows))
        return tensor.to(self._device, _TYPES[arithmetic])


def _shared(array: NDArray[Any]) -> torch.Tensor:
    # Arrays out of messages cannot be written to, which torch warns about.
    return torch.from_numpy(np.require(array, requirements="W"))


def _column_maxima(values: torch.Tensor) -> torch.Tensor:
    """Largest of each column, (n, length, columns) -> (n, columns); overwrites `values`."""
    length = values.shape[1]
    while length > 1:
        half = length // 2
        torch.maximum(values[:, :half], values[:, half : 2 * half], out=values[:, :half])
        if length % 2:
            last = values[:, length - 1 : length]
            torch.maximum(values[:, :1], last, out=values[:, :1])
        length = half
    return values[:, 0]
