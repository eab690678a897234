"""What counts as a multi-vector embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from colpali_serve.schemas.errors import EmbeddingShapeError

Embedding = NDArray[np.floating[Any]]
"""(n_vectors, dim), one row a vector."""

_MAX_VALUE = 1e15


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

    def refuse(found: str, expected: str) -> EmbeddingShapeError:
        return EmbeddingShapeError(f"{owner}: embedding {found}, expected {expected}", item)

    if value is None:
        raise refuse("is missing", "an array (n_vectors, dim)")
    array = np.asarray(value)
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise refuse(f"has dtype {array.dtype}", "float16, float32 or float64")
    if array.ndim != 2:
        raise refuse(f"has shape {array.shape}", "(n_vectors, dim)")
    if 0 in array.shape:
        raise refuse(f"has shape {array.shape}", "at least one vector")
    if dim is not None and array.shape[1] != dim:
        raise refuse(f"has {array.shape[1]} dimensions", f"{dim} like the first of the request")
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise refuse(f"has {bad} values that are NaN or infinite", "finite numbers")
    # Beyond this a dot product of two such vectors would not fit into the float32 of a score.
    if (largest := float(np.abs(array).max())) > _MAX_VALUE:
        raise refuse(f"has a value of {largest:.3g}", f"at most {_MAX_VALUE:g}")
    return array
