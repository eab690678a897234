"""What goes into the encoder and what comes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.forward import Grid
from colpali_serve.engine.margins import WHOLE, Box
from colpali_serve.schemas import Embedding, owner


@dataclass(frozen=True)
class ImageInput:
    """An encoded image to embed.

    Attributes:
        id: Its name.
        data: Encoded bytes.
        url: Or a `data:` URI.
        kind: "page", or "query" for search by image.
    """

    id: str
    data: bytes | None = None
    url: str | None = None
    kind: str = "page"

    @property
    def owner(self) -> str:
        """How errors call it."""
        return owner(self.kind, self.id)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds while it waits."""
        return len(self.data or b"") + len(self.url or "")


@dataclass(frozen=True)
class TextInput:
    """A text query to embed.

    Attributes:
        id: Its name.
        text: What to look for.
    """

    id: str
    text: str

    @property
    def kind(self) -> str:
        """Always "query"."""
        return "query"

    @property
    def owner(self) -> str:
        """How errors call it."""
        return owner("query", self.id)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds while it waits."""
        return len(self.text)


Input = ImageInput | TextInput


@dataclass(frozen=True)
class Encoded:
    """An embedding.

    Attributes:
        embedding: (n_vectors, dim) of the dtype that was asked for, no padding rows; unit
            rows, but of a text as long as its tokens count. For "int8" int8, for "binary" uint8
            with eight signs a byte, as in `Compressed`.
        grid: Patch columns and rows of an image that was not pooled, else None.
        token_ids: int64 (n_vectors,), the vocabulary's id at each vector's place; None where the
            vectors were pooled.
        scale: What int8 values are multiplied by, or what a sign stands for; None for floats.
        box: The part of the image that the grid covers.
    """

    embedding: Embedding
    grid: Grid | None = None
    token_ids: NDArray[np.int64] | None = None
    scale: float | None = None
    box: Box = WHOLE
