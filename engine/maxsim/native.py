"""The compiled kernel, through ctypes."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.forms import Form, Rows
from colpali_serve.schemas import EncodingError

_log = logging.getLogger("colpali_serve.engine.maxsim")
_PACKED = {Arithmetic.BFLOAT16: Form.BFLOAT16, Arithmetic.INT8: Form.UINT8}
_WIDTHS = {Arithmetic.BFLOAT16: 32, Arithmetic.INT8: 64}
"""Values to which the kernel pads a row's width."""
_CACHE_LINE = 64
_STORED: dict[Form, np.dtype[Any]] = {
    Form.BFLOAT16: np.dtype(np.uint16),
    Form.UINT8: np.dtype(np.uint8),
}


class Instructions(IntEnum):
    """`enum instructions` of kernel/kernel.h."""

    AVX2 = 0
    AVX512 = 1
    AMX = 2


class _Job(ctypes.Structure):
    """`struct job` of kernel/kernel.h."""

    _fields_ = (
        ("dim", ctypes.c_int64),
        ("n_queries", ctypes.c_int64),
        ("n_pages", ctypes.c_int64),
        ("queries", ctypes.c_void_p),
        ("query_starts", ctypes.c_void_p),
        ("pages", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("forms", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("scores", ctypes.c_void_p),
        ("arithmetic", ctypes.c_int32),
        ("instructions", ctypes.c_int32),
        ("threads", ctypes.c_int32),
    )


class Kernel:
    """The library's functions.

    Args:
        path: Of the shared library.

    Raises:
        OSError: It cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self.score = library.maxsim_score
        self._supports = library.maxsim_supports
        self._pack = library.maxsim_pack
        self._pack.argtypes = (
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_int,
            ctypes.c_void_p,
        )

    def arithmetics(self, instructions: Instructions) -> frozenset[Arithmetic]:
        """Return what can be computed here with some instructions; empty if they are missing."""
        return frozenset(a for a in Arithmetic if self._supports(int(instructions), int(a)))

    def pack(self, rows: Rows, arithmetic: Arithmetic) -> Rows:
        """Return rows in the form of an arithmetic; their width must need no padding."""
        form = _PACKED[arithmetic]
        packed = _aligned(rows.n_vectors, rows.dim, _STORED[form])
        status = self._pack(
            rows.values.ctypes.data,
            int(rows.form),
            rows.n_vectors,
            rows.dim,
            int(arithmetic),
            packed.ctypes.data,
        )
        assert status == 0, f"a {rows.form.name} page cannot be packed for {arithmetic.name}"
        return Rows(packed, form, rows.n_vectors, rows.dim, rows.scale)


def _aligned(n_vectors: int, dim: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Room for rows of whole cache lines: a tile would load each from two, if they lay across."""
    size = n_vectors * dim * dtype.itemsize
    room = np.empty(size + _CACHE_LINE, np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    return room[start : start + size].view(dtype).reshape(n_vectors, dim)


@cache
def load_kernel() -> Kernel | None:
    """Return the kernel that was built with the package; None, said once, if there is none."""
    folder = Path(__file__).parent
    for suffix in EXTENSION_SUFFIXES:
        path = folder / f"_kernel{suffix}"
        if not path.exists():
            continue
        try:
            return Kernel(path)
        except (OSError, AttributeError) as error:
            _log.warning("the compiled MaxSim kernel cannot be loaded (%s)", type(error).__name__)
            return None
    _log.info("no compiled MaxSim kernel: there was no C compiler when the package was installed")
    return None


class Batch:
    """Pages as the kernel takes them.

    Args:
        pages: At least one, of the same dim.
    """

    def __init__(self, pages: Sequence[Rows]) -> None:
        self.pages = pages  # holds the memory that the pointers lead to
        self.dim = pages[0].dim
        self.pointers = np.array([rows.values.ctypes.data for rows in pages], np.uintp)
        self.lengths = np.array([rows.n_vectors for rows in pages], np.int64)
        self.forms = np.array([rows.form for rows in pages], np.int32)
        self.scales = np.array([rows.scale for rows in pages], np.float32)


class NativeBackend:
    """Scores with the compiled kernel; holds no similarities.

    Args:
        kernel: The library.
        instructions: With which.
        threads: Plain threads that share the pages of a call.
    """

    copies = False

    def __init__(self, kernel: Kernel, instructions: Instructions, threads: int = 1) -> None:
        self.name = instructions.name.lower()
        self.available = kernel.arithmetics(instructions)
        self._kernel, self._instructions, self._threads = kernel, instructions, threads

    def pack(self, rows: Rows, arithmetic: Arithmetic) -> Rows:
        """Return rows in the arithmetic's own form where that takes no more memory."""
        form = _PACKED.get(arithmetic)
        if form is None or rows.form in (form, Form.BINARY) or rows.dim % _WIDTHS[arithmetic]:
            return rows
        if _STORED[form].itemsize > rows.values.dtype.itemsize:
            return rows
        return self._kernel.pack(rows, arithmetic)

    def prepare(self, pages: Sequence[Rows], arithmetic: Arithmetic) -> Batch:
        """Return pointers to the pages."""
        return Batch(pages)

    def score(
        self, queries: Sequence[NDArray[np.float32]], prepared: Batch, arithmetic: Arithmetic
    ) -> NDArray[np.float32]:
        """Return float32 (n_queries, n_pages).

        Raises:
            EncodingError: There was no memory for the kernel's buffers.
        """
        rows = np.concatenate(queries) if len(queries) > 1 else queries[0]
        starts = np.zeros(len(queries) + 1, np.int64)
        np.cumsum([len(query) for query in queries], out=starts[1:])
        scores = np.empty((len(queries), len(prepared.lengths)), np.float32)
        job = _Job(
            prepared.dim,
            len(queries),
            len(prepared.lengths),
            rows.ctypes.data,
            starts.ctypes.data,
            prepared.pointers.ctypes.data,
            prepared.lengths.ctypes.data,
            prepared.forms.ctypes.data,
            prepared.scales.ctypes.data,
            scores.ctypes.data,
            int(arithmetic),
            int(self._instructions),
            self._threads,
        )
        if status := self._kernel.score(ctypes.byref(job)):
            raise EncodingError(f"the MaxSim kernel gave up (status {status}), expected scores")
        return scores
