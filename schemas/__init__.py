"""Documents, endpoint names, parameters and errors: what a client and the service share."""

from colpali_serve.schemas.compression import (
    Compressed,
    EmbeddingDtype,
    FloatDtype,
    PageValues,
    binary_scale,
    compress,
    expand,
)
from colpali_serve.schemas.documents import PageDoc, QueryDoc, ScoreDoc
from colpali_serve.schemas.embeddings import Embedding, check_embedding, check_page_values
from colpali_serve.schemas.endpoints import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    ENDPOINTS,
    SCORE,
    SCORE_EMBEDDINGS,
)
from colpali_serve.schemas.errors import (
    ColPaliError,
    ConfigError,
    EmbeddingShapeError,
    EncodingError,
    InvalidInputError,
    InvalidPageError,
    InvalidQueryError,
    ModelLoadError,
    OverloadedError,
    RemoteError,
    ServiceUnavailableError,
    describe,
    error_from_name,
    owner,
)
from colpali_serve.schemas.parameters import EncodeParameters, ScoreParameters

__all__ = [
    "EMBED_IMAGES",
    "EMBED_QUERIES",
    "ENDPOINTS",
    "SCORE",
    "SCORE_EMBEDDINGS",
    "ColPaliError",
    "Compressed",
    "ConfigError",
    "Embedding",
    "EmbeddingDtype",
    "EmbeddingShapeError",
    "EncodeParameters",
    "EncodingError",
    "FloatDtype",
    "InvalidInputError",
    "InvalidPageError",
    "InvalidQueryError",
    "ModelLoadError",
    "OverloadedError",
    "PageDoc",
    "PageValues",
    "QueryDoc",
    "RemoteError",
    "ScoreDoc",
    "ScoreParameters",
    "ServiceUnavailableError",
    "binary_scale",
    "check_embedding",
    "check_page_values",
    "compress",
    "describe",
    "error_from_name",
    "expand",
    "owner",
]
