"""What counts as a multi-vector embedding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colpali_serve.schemas.compression import Compressed, Embedding, PageValues, binary_scale
from colpali_serve.schemas.errors import EmbeddingShapeError

__all__ = ["Embedding", "check_embedding", "check_page_values"]

_MAX_VALUE = 1e15
_FLOAT16_EXPONENT = 0x7C00


def check_embedding(value: object, owner: str, item: str, dim: int | None = None) -> Embedding:
    """Return `value` as an array if it is a usable embedding.

    Args:
        value: What the caller sent, an array (n_vectors, dim) of float16, float32 or float64.
        owner: How errors call its owner, for example ``page 'a'``.
        item: The owner's id.
        dim: Width that the embedding must have, if one is prescribed.

    Returns:
        The same array, (n_vectors >= 1, dim >= 1), every value finite and at most 1e15.

    Raises:
        EmbeddingShapeError: It is missing, of another kind or shape, or not finite.

    >>> check_embedding(np.zeros((2, 3), np.float32), "page 'a'", "a").shape
    (2, 3)
    >>> check_embedding(np.zeros(3, np.float32), "page 'a'", "a")
    Traceback (most recent call last):
    ...
    colpali_serve.schemas.errors.EmbeddingShapeError: page 'a': embedding has shape (3,), \
expected (n_vectors, dim)
    """
    array = _present(value, owner, item)
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise _refusal(owner, item, f"has dtype {array.dtype}", "float16, float32 or float64")
    _check_shape(array, array.shape[-1] if array.ndim else 0, owner, item, dim)
    _check_values(array, owner, item)
    return array


def check_page_values(
    value: object, scale: object, owner: str, item: str, dim: int | None = None
) -> PageValues:
    """Return a page's embedding of any form if it is usable.

    Args:
        value: As in `check_embedding`, or int8 (n_vectors, dim), or uint8 (n_vectors, dim / 8).
        scale: What int8 values are multiplied by; signs may go without one.
        owner: How errors call its owner.
        item: The owner's id.
        dim: Width of the vectors that it must stand for, if one is prescribed.

    Returns:
        The same array, or a `Compressed` around it.

    Raises:
        EmbeddingShapeError: As in `check_embedding`, or the scale is missing, out of place, not
            finite or not above 0.

    >>> check_page_values(np.ones((2, 3), np.int8), 0.5, "page 'a'", "a").dim
    3
    """
    array = _present(value, owner, item)
    if array.dtype not in (np.int8, np.uint8):
        if scale is not None:
            raise EmbeddingShapeError(
                f"{owner}: has a scale and an embedding of {array.dtype}, expected one of int8 or "
                "uint8 (binary) beside a scale",
                item,
            )
        if array.dtype not in (np.float16, np.float32, np.float64):
            expected = "float16, float32, float64, int8 or uint8 (binary)"
            raise _refusal(owner, item, f"has dtype {array.dtype}", expected)
        return check_embedding(array, owner, item, dim)
    width = (array.shape[-1] if array.ndim else 0) * (8 if array.dtype == np.uint8 else 1)
    _check_shape(array, width, owner, item, dim)
    if scale is None and array.dtype == np.uint8:
        scale = binary_scale(width)
    if not isinstance(scale, (int, float, np.floating)) or not 0 < scale <= _MAX_VALUE:
        found = "no scale" if scale is None else f"a scale of {scale}"
        raise EmbeddingShapeError(
            f"{owner}: has an embedding of {array.dtype} and {found}, expected a number above 0",
            item,
        )
    return Compressed(array, float(scale))


def _present(value: object, owner: str, item: str) -> NDArray[Any]:
    if value is None:
        raise _refusal(owner, item, "is missing", "an array (n_vectors, dim)")
    return np.asarray(value)


def _refusal(owner: str, item: str, found: str, expected: str) -> EmbeddingShapeError:
    return EmbeddingShapeError(f"{owner}: embedding {found}, expected {expected}", item)


def _check_shape(array: NDArray[Any], width: int, owner: str, item: str, dim: int | None) -> None:
    if array.ndim != 2:
        raise _refusal(owner, item, f"has shape {array.shape}", "(n_vectors, dim)")
    if 0 in array.shape:
        raise _refusal(owner, item, f"has shape {array.shape}", "at least one vector")
    if dim is not None and width != dim:
        expected = f"{dim} like the first of the request"
        raise _refusal(owner, item, f"has {width} dimensions", expected)


def _check_values(array: NDArray[Any], owner: str, item: str) -> None:
    if array.dtype == np.float16:
        # Its own arithmetic is slow: an exponent of all ones is what NaN and infinity have.
        exponents = array.view(np.uint16) & _FLOAT16_EXPONENT
        largest = math.inf if exponents.max() == _FLOAT16_EXPONENT else 0.0
    else:
        largest = float(np.abs(array).max())
    if largest <= _MAX_VALUE:
        return
    if bad := array.size - int(np.isfinite(array).sum()):
        raise _refusal(owner, item, f"has {bad} values that are NaN or infinite", "finite numbers")
    # Beyond this a dot product of two such vectors would not fit into the float32 of a score.
    raise _refusal(owner, item, f"has a value of {largest:.3g}", f"at most {_MAX_VALUE:g}")
