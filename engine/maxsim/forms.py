"""Embeddings of any form, as rows that a backend takes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from colpali_serve.schemas import (
    Compressed,
    Embedding,
    EmbeddingShapeError,
    PageValues,
    check_embedding,
    check_page_values,
)

Page: TypeAlias = "PageValues | Rows | Any"
"""A numpy array or a torch tensor (n_vectors, dim), a `Compressed`, or rows that are ready."""

PACKED_WIDTH = 32
"""Values in a step of the compiled bfloat16 kernels; other widths are rounded elsewhere."""


class Form(IntEnum):
    """How vectors lie in memory; `enum form` of kernel/kernel.h."""

    FLOAT32 = 0
    FLOAT16 = 1
    BFLOAT16 = 2
    INT8 = 3
    UINT8 = 4
    BINARY = 5


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A page's vectors in one form.

    Attributes:
        values: The array, contiguous: (n_vectors, dim) of float32, float16 or int8; uint16 with
            the bits of bfloat16; uint8 with int8 + 128, or with eight signs each. A tensor of the
            same shape on its own device for torch and triton.
        form: Which.
        n_vectors: At least 1.
        dim: Width of the vectors.
        scale: What the values are multiplied by.
    """

    values: Any
    form: Form
    n_vectors: int
    dim: int
    scale: float = 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return int(self.values.nbytes)


_FORMS = {np.dtype(np.float32): Form.FLOAT32, np.dtype(np.float16): Form.FLOAT16}


def rows_of(page: Page) -> Rows:
    """Return the rows of an embedding that was checked.

    Args:
        page: Any form; float64 is rounded to float32.
    """
    if isinstance(page, Rows):
        return page
    if isinstance(page, Compressed):
        form = Form.BINARY if page.is_binary else Form.INT8
        values = np.ascontiguousarray(page.values)
        return Rows(values, form, len(page), page.dim, page.scale)
    if is_tensor(page):
        return _tensor_rows(page)
    array: NDArray[Any] = np.ascontiguousarray(page)
    if array.dtype not in _FORMS:
        array = array.astype(np.float32)
    return Rows(array, _FORMS[array.dtype], len(array), array.shape[1])


def checked_rows(pages: Sequence[Page], dim: int | None, start: int = 0) -> list[Rows]:
    """Return the rows of pages if all of them are usable.

    Args:
        pages: Of any form; errors call them by their index.
        dim: Width that they must have; None takes the first one's.
        start: Index of the first of them.

    Raises:
        EmbeddingShapeError: A page has the wrong shape, dtype, width or values.
    """
    found = []
    for index, page in enumerate(pages, start):
        rows = _checked(page, f"page {index}", str(index), dim)
        dim = rows.dim
        found.append(rows)
    return found


def _checked(page: Page, name: str, item: str, dim: int | None) -> Rows:
    if isinstance(page, Compressed):
        return rows_of(check_page_values(page.values, page.scale, name, item, dim))
    if is_tensor(page):
        array = check_embedding(_floats(page), name, item, dim)
        return rows_of(page if page.dtype == _torch().bfloat16 else array)
    if isinstance(page, Rows):
        if dim is not None and page.dim != dim:
            raise EmbeddingShapeError(f"{name}: has {page.dim} dimensions, expected {dim}", item)
        return page
    # Whole numbers alone do not say what they stand for.
    return rows_of(check_embedding(page, name, item, dim))


def checked_queries(queries: Sequence[Embedding | Any]) -> list[NDArray[np.float32]]:
    """Return queries as float32 if all of them are usable.

    Args:
        queries: Arrays or tensors (n_vectors, dim) of floats; errors call them by their index.

    Raises:
        EmbeddingShapeError: A query has the wrong shape, dtype, width or values.
    """
    found: list[NDArray[np.float32]] = []
    dim = None
    for index, query in enumerate(queries):
        value = _floats(query) if is_tensor(query) else query
        array = check_embedding(value, f"query {index}", str(index), dim)
        dim = array.shape[1]
        found.append(np.ascontiguousarray(array, np.float32))
    return found


def floats(rows: Rows) -> NDArray[np.float32]:
    """Return the float32 values (n_vectors, dim) that rows stand for."""
    values = rows.values
    match rows.form:
        case Form.FLOAT32 | Form.FLOAT16:
            found = np.asarray(values, np.float32)
        case Form.BFLOAT16:
            found = (values.astype(np.uint32) << 16).view(np.float32)
        case Form.INT8:
            found = values.astype(np.float32)
        case Form.UINT8:
            found = values.astype(np.float32) - 128
        case Form.BINARY:
            found = 2 * np.unpackbits(values, axis=1).astype(np.float32) - 1
    return found if rows.scale == 1.0 else found * np.float32(rows.scale)


def is_tensor(value: object) -> TypeGuard[Any]:
    """Whether it is a torch tensor; torch need not be there."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _torch() -> Any:
    return sys.modules["torch"]


def _floats(tensor: Any) -> Any:
    """A tensor as an array; numpy has no bfloat16."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == _torch().bfloat16 else tensor).numpy()


def _tensor_rows(tensor: Any) -> Rows:
    torch = _torch()
    if tensor.dtype == torch.bfloat16 and tensor.shape[1] % PACKED_WIDTH == 0:
        bits = tensor.detach().cpu().contiguous().view(torch.uint16).numpy()
        return Rows(bits, Form.BFLOAT16, len(bits), bits.shape[1])
    return rows_of(_floats(tensor))
