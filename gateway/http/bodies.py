"""What requests look like: the vocabularies of our own and BentoColPali's routes."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from colpali_serve.gateway.http.images import Image
from colpali_serve.schemas import Embedding

EncodingFormat = Literal["float", "base64"]
EmbeddingDtype = Literal["float16", "float32"]


class Body(BaseModel):
    """A body of a route of our own: a misspelt option is an error, not a default."""

    model_config = ConfigDict(extra="forbid")


class FileOptions(BaseModel):
    """Options of bodies that may bring files.

    Attributes:
        dpi: Resolution at which uploaded PDFs are rendered, in dots per inch.
    """

    dpi: int = Field(default=150, ge=36, le=400)


class EncodeOptions(BaseModel):
    """How embeddings come back.

    Attributes:
        encoding_format: ``float`` gives nested lists (n_vectors, dim); ``base64`` gives objects
            with ``embedding`` (base64 of the rows, little-endian), ``shape`` and ``dtype``.
        embedding_dtype: What they travel in; by default what the encoder is set to (float16).
    """

    encoding_format: EncodingFormat = "float"
    embedding_dtype: EmbeddingDtype | None = None


class PoolOption(BaseModel):
    """Pooling of pages.

    Attributes:
        pool_factor: Keep about 1/pool_factor of each page's vectors.
    """

    pool_factor: int | None = Field(default=None, ge=1)


class EmbedImages(Body, FileOptions, EncodeOptions, PoolOption):
    """Pages to embed.

    Attributes:
        items: Images; a form may bring them as `files` instead.
        thumbnails: In a stream: add a small JPEG to each line, as a data: URI.
    """

    items: list[Image] = []
    thumbnails: bool = False


class EmbedQueries(Body, EncodeOptions):
    """Queries to embed.

    Attributes:
        items: Texts.
    """

    items: list[str]


class Score(Body, FileOptions, PoolOption):
    """Queries to score against pages.

    Attributes:
        images: Pages; a form may bring them as `files` instead.
        queries: Texts.
    """

    images: list[Image] = []
    queries: list[str] = Field(min_length=1)


def _array(value: Any) -> Any:
    """Read nested lists of numbers, or what the embed routes answer for ``base64``."""
    if isinstance(value, dict):
        return _unpacked(value)
    try:
        array = np.asarray(value, np.float32)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("input should be rows of numbers, all of one length") from None
    if array.ndim != 2:
        raise ValueError("input should be rows of numbers, (n_vectors, dim)")
    return array


def _unpacked(value: dict[str, Any]) -> Embedding:
    text, shape, dtype = (value.get(name) for name in ("embedding", "shape", "dtype"))
    if not isinstance(text, str) or dtype not in ("float16", "float32"):
        raise ValueError("input should have embedding in base64, shape, dtype float16 or float32")
    try:
        flat = np.frombuffer(base64.b64decode(text, validate=True), np.dtype(dtype))
        rows, columns = shape  # type: ignore[misc]
        return flat.reshape(int(rows), int(columns))
    except (binascii.Error, ValueError, TypeError, OverflowError):
        raise ValueError("input should have as many bytes of base64 as shape says") from None


Vectors = Annotated[
    Any,
    BeforeValidator(_array),
    WithJsonSchema(
        {
            "title": "Vectors",
            "anyOf": [
                {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                {
                    "type": "object",
                    "properties": {
                        "embedding": {"type": "string", "format": "byte"},
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "dtype": {"enum": ["float16", "float32"]},
                    },
                    "required": ["embedding", "shape", "dtype"],
                },
            ],
        }
    ),
]
"""An embedding, (n_vectors, dim)."""


class ScoreEmbeddings(Body):
    """Embeddings to score against each other.

    Attributes:
        image_embeddings: Of pages.
        query_embeddings: Of queries.
    """

    image_embeddings: list[Vectors] = Field(min_length=1)
    query_embeddings: list[Vectors] = Field(min_length=1)
