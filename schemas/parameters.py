"""What a caller may ask for beside the documents, checked once for every door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from colpali_serve.schemas.compression import EmbeddingDtype
from colpali_serve.schemas.errors import InvalidInputError

OnError = Literal["raise", "keep"]

_MAX_SHOWN = 100


def _whole(value: object) -> object:
    """Undo protobuf's Struct, in which every number is a float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Count = Annotated[int, BeforeValidator(_whole), Field(ge=1, strict=True)]


class _Parameters(BaseModel):
    # A parameter of another Executor in the Flow travels beside ours: unknown ones are not ours
    # to refuse.
    model_config = ConfigDict(extra="ignore", frozen=True)

    @classmethod
    def parse(cls, parameters: Mapping[str, Any] | None) -> Self:
        """Check the parameters of a request.

        Args:
            parameters: As Jina hands them over; None means all defaults.

        Raises:
            InvalidInputError: A value is not allowed; the message names it.
        """
        try:
            return cls.model_validate(dict(parameters or {}))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            shown = repr(first["input"])[:_MAX_SHOWN]
            raise InvalidInputError(
                f"parameter '{name}' is {shown}: {first['msg'].lower()}", name
            ) from None


class EncodeParameters(_Parameters):
    """Parameters of /embed_images, /embed_queries, /score and /pages/put.

    Attributes:
        embedding_dtype: Form in which embeddings travel: "float16", "float32", and for pages
            "int8" (one scale a page) and "binary" (signs); queries then are float16.
        pool_factor: Pages keep about 1/pool_factor of their vectors, by hierarchical pooling.
            1 keeps all; None takes the server's setting.
        on_error: "raise" fails the request with the first bad item, "keep" embeds the good
            items and says in each bad one's `error` what was wrong.
    """

    embedding_dtype: EmbeddingDtype | None = None
    pool_factor: _Count | None = None
    on_error: OnError = "raise"


class ScoreParameters(_Parameters):
    """Parameters of /score_embeddings and /score.

    Attributes:
        top_k: Length of each query's `ranking`; None ranks all pages. Of resident pages only
            those that are ranked come back.
        return_embeddings: Leave the embeddings on the documents that come back.
        on_error: As in `EncodeParameters`.
    """

    top_k: _Count | None = None
    return_embeddings: bool = False
    on_error: OnError = "raise"


class HeatmapParameters(_Parameters):
    """Parameters of /heatmap.

    Attributes:
        all_tokens: Show also the tokens that the checkpoint puts around a query's own text.
        on_error: As in `EncodeParameters`.
    """

    all_tokens: Annotated[bool, Field(strict=True)] = False
    on_error: OnError = "raise"


class StoreParameters(_Parameters):
    """Parameters of /pages/put, beside those of `EncodeParameters`, and of /pages/drop.

    Attributes:
        embedding_dtype: Form in which pages are kept; None keeps the one in which they come.
        on_error: "raise" stores or drops all pages or none, "keep" the good ones.
    """

    embedding_dtype: EmbeddingDtype | None = None
    on_error: OnError = "raise"
