"""One vocabulary for smaller embeddings: what a value in memory or on the wire stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from colpali_serve.schemas.errors import EmbeddingShapeError

EmbeddingDtype = Literal["float32", "float16", "int8", "binary"]
"""How a page's embedding is kept. Queries are floats always."""

FloatDtype = Literal["float32", "float16"]

Embedding = NDArray[np.floating[Any]]
"""(n_vectors, dim), one row a vector."""

_INT8_MAX = 127


@dataclass(frozen=True, slots=True, eq=False)
class Compressed:
    """A page's embedding in fewer bytes.

    Attributes:
        values: int8 (n_vectors, dim), each standing for itself times `scale`; or uint8
            (n_vectors, dim / 8), eight signs a byte, the first in the highest bit, a set bit
            standing for +`scale` and a clear one for -`scale`.
        scale: Above 0, one for the whole page.
    """

    values: NDArray[Any]
    scale: float

    @property
    def is_binary(self) -> bool:
        """Whether the values are signs."""
        return self.values.dtype == np.uint8

    @property
    def dim(self) -> int:
        """Width of the vectors that it stands for."""
        return int(self.values.shape[1]) * (8 if self.is_binary else 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return int(self.values.nbytes)

    def __len__(self) -> int:
        return len(self.values)


PageValues: TypeAlias = Embedding | Compressed
"""A page's embedding in any form."""


def binary_scale(dim: int) -> float:
    """Return the scale with which a vector of signs has length 1, as the vector it was made of."""
    return 1 / math.sqrt(dim)


def compress(
    embedding: PageValues, embedding_dtype: EmbeddingDtype, owner: str = "embedding"
) -> PageValues:
    """Return an embedding in another form.

    Args:
        embedding: (n_vectors, dim), any form; if it is `Compressed` it is expanded first, unless
            it has the form already.
        embedding_dtype: "float32" or "float16"; "int8", rounded by one scale a page, the largest
            absolute value becoming 127; "binary", the sign of each value (0 counts as negative).
        owner: How an error calls the embedding's owner, for example ``page 'a'``.

    Returns:
        An array (n_vectors, dim) for the floats, `Compressed` for the others.

    Raises:
        EmbeddingShapeError: Signs were asked for and dim is no multiple of 8.

    >>> compress(np.array([[0.5, -1.0]]), "int8").values.tolist()
    [[64, -127]]
    >>> compress(np.array([[1, -1, -1, 1, 1, 1, 1, -1.0]]), "binary").values.tolist()
    [[158]]
    """
    if isinstance(embedding, Compressed):
        if embedding.is_binary == (embedding_dtype == "binary") and embedding_dtype in (
            "int8",
            "binary",
        ):
            return embedding
        embedding = expand(embedding)
    if embedding_dtype in ("float32", "float16"):
        return embedding.astype(embedding_dtype, copy=False)
    if embedding_dtype == "int8":
        rows = embedding.astype(np.float32, copy=False)
        largest = float(np.abs(rows).max())
        # A page of zeros has no largest value to go by.
        scale = float(np.float32(largest / _INT8_MAX)) or 1.0
        rounded = np.clip(np.rint(rows / np.float32(scale)), -_INT8_MAX, _INT8_MAX)
        return Compressed(rounded.astype(np.int8), scale)
    dim = embedding.shape[1]
    if dim % 8:
        raise EmbeddingShapeError(
            f"{owner}: has {dim} dimensions, expected a multiple of 8 for binary embeddings"
        )
    return Compressed(np.packbits(embedding > 0, axis=1), binary_scale(dim))


def expand(embedding: PageValues) -> NDArray[np.float32]:
    """Return the float32 values (n_vectors, dim) that an embedding of any form stands for.

    >>> expand(Compressed(np.array([[64, -127]], np.int8), 0.5)).tolist()
    [[32.0, -63.5]]
    """
    if not isinstance(embedding, Compressed):
        return embedding.astype(np.float32, copy=False)
    values = embedding.values
    if embedding.is_binary:
        signs = np.unpackbits(values, axis=1).astype(np.float32)
        return (2 * signs - 1) * np.float32(embedding.scale)
    return values.astype(np.float32) * np.float32(embedding.scale)
