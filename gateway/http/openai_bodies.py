"""What requests look like in the vocabularies of OpenAI, Jina, Cohere and vLLM."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from colpali_serve.gateway.http.bodies import (
    EmbeddingDtype,
    EncodingFormat,
    FileOptions,
    PoolOption,
)
from colpali_serve.gateway.http.images import IMAGE_SCHEMA, Image, ImageUrl, spelt_out

_IMAGE_DATA = ("data:", "http://", "https://")


class Foreign(BaseModel):
    """A body of a vocabulary that has more options than these: the others are left aside."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = Field(
        default=None, description="Any name: the answer says which checkpoint it was."
    )


class Text(BaseModel):
    """A text.

    Attributes:
        text: The words.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: str


def _text_or_image(value: object) -> object:
    """Tell texts and images apart: a string is an image if it is a data: URI or an address."""
    if isinstance(value, str):
        known = value[:8].lower().startswith(_IMAGE_DATA)
        return {"url": value} if known else {"text": value}
    if isinstance(value, dict) and not isinstance(value.get("text"), str):
        content = value.get("content")
        if isinstance(content, list) and len(content) == 1:  # as vLLM wraps it
            return _text_or_image(content[0])
        return spelt_out(value)
    return value


TextOrImage = Annotated[
    Text | ImageUrl,
    BeforeValidator(_text_or_image),
    WithJsonSchema(
        {
            "title": "TextOrImage",
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"text": {"type": "string"}},
                    "required": ["text"],
                },
                *IMAGE_SCHEMA["anyOf"],
            ],
        }
    ),
]
"""``{"text": ...}``, an image as `Image` has it, or a string: an image where it is a data: URI or
an address, else a text."""


def _many(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _one_or_many(schema: dict[str, Any]) -> Any:
    return WithJsonSchema({"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]})


_INPUT: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        {"type": "object", "properties": {"image": {"type": "string"}}, "required": ["image"]},
    ]
}


class Embeddings(Foreign, FileOptions, PoolOption):
    """Texts and images to embed, in OpenAI's or Jina's shape.

    Attributes:
        input: One or several texts or images, mixed as you like; a form may bring `files`.
        encoding_format: ``float`` gives nested lists (n_vectors, dim); ``base64`` the rows one
            after the other, little-endian: what the `openai` package decodes, to be reshaped by
            `shape`. Jina calls it `embedding_type`.
        embedding_dtype: ``float32`` unless asked otherwise; it asks the encoder for float32 where
            it is given. The `openai` package knows no other.
        task: ``retrieval.query`` searches by what is in `input`, an image as well;
            ``retrieval.passage`` is for pages. By default texts are queries, images pages.
        dimensions: Not supported: the checkpoint decides.
    """

    input: Annotated[list[TextOrImage], BeforeValidator(_many), _one_or_many(_INPUT)] = []
    encoding_format: EncodingFormat = Field(
        default="float", validation_alias=AliasChoices("encoding_format", "embedding_type")
    )
    embedding_dtype: EmbeddingDtype | None = Field(
        default=None, validation_alias=AliasChoices("embedding_dtype", "dtype")
    )
    task: Literal["retrieval.query", "retrieval.passage"] | None = None
    dimensions: int | None = None


class Rerank(Foreign, FileOptions, PoolOption):
    """A query and pages to be ranked by it, in Cohere's and Jina's shape.

    Attributes:
        query: A text, or an image to search by page.
        documents: Images of pages; a form may bring them as `files` instead.
        top_n: Length of `results`; all pages unless given.
        return_documents: Whether results repeat their documents.
    """

    query: TextOrImage
    documents: list[Image] = []
    top_n: int | None = Field(default=None, ge=1)
    return_documents: bool = False


class ScorePairs(Foreign, FileOptions, PoolOption):
    """Queries and pages to be scored pair by pair, in vLLM's shape.

    Attributes:
        text_1: One query for all pages, or one a page. Also called `queries`.
        text_2: Pages. Also called `documents`; a form may bring them as `files` instead.
    """

    text_1: Annotated[list[TextOrImage], BeforeValidator(_many), _one_or_many(_INPUT)] = Field(
        min_length=1, validation_alias=AliasChoices("text_1", "queries", "data_1")
    )
    text_2: Annotated[list[Image], BeforeValidator(_many), _one_or_many(IMAGE_SCHEMA)] = Field(
        default=[], validation_alias=AliasChoices("text_2", "documents", "data_2")
    )
