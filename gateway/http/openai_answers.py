"""What answers look like in the vocabularies of OpenAI, Jina, Cohere and vLLM."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    # Uploaded pages add `file` and `page`.
    model_config = ConfigDict(extra="allow")


class EmbeddingEntry(_Answer):
    """A multi-vector embedding.

    Attributes:
        object: ``embedding``.
        index: Of the input.
        embedding: Nested lists (n_vectors, dim), or base64 of the rows one after the other.
        shape: (n_vectors, dim).
        dtype: ``float32`` or ``float16``.
    """

    object: str
    index: int
    embedding: list[list[float]] | str
    shape: list[int]
    dtype: str


class Usage(BaseModel):
    """What was embedded.

    Attributes:
        prompt_tokens: Vectors: one a token of queries and pages; fewer where pages are pooled.
        total_tokens: The same.
    """

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(_Answer):
    """The answer of /v1/embeddings.

    Attributes:
        object: ``list``.
        data: One entry an input, in order.
        model: Name of the checkpoint.
        usage: What was embedded.
    """

    object: str
    data: list[EmbeddingEntry]
    model: str
    usage: Usage


class RankedDocument(_Answer):
    """A page and its score.

    Attributes:
        index: Of the document in the request.
        relevance_score: MaxSim.
        document: The document, where it was asked for, or the file and page of an upload.
    """

    index: int
    relevance_score: float
    document: dict[str, Any] | None = None


class Ranking(_Answer):
    """The answer of /v1/rerank.

    Attributes:
        model: Name of the checkpoint.
        results: Pages, best first.
    """

    model: str
    results: list[RankedDocument]


class ScoreEntry(_Answer):
    """The score of a pair.

    Attributes:
        index: Of the pair.
        object: ``score``.
        score: MaxSim.
    """

    index: int
    object: str
    score: float


class ScoreList(_Answer):
    """The answer of /v1/score.

    Attributes:
        object: ``list``.
        data: One entry a pair, in order.
        model: Name of the checkpoint.
    """

    object: str
    data: list[ScoreEntry]
    model: str
