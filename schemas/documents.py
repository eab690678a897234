"""The typed documents that cross the wire."""

# No `from __future__ import annotations`: docarray builds wire schemas from live annotations.
from typing import Any, Dict, List, Optional

from docarray import BaseDoc, DocList
from docarray.proto import DocProto
from docarray.typing import ID, NdArray
from pydantic import ConfigDict, Field, ValidationError

from colpali_serve.schemas import wire
from colpali_serve.schemas.errors import InvalidInputError


class _WireDoc(BaseDoc):
    """A document that refuses unknown fields and reports bad ones as `InvalidInputError`."""

    # BaseDoc drops unknown fields in silence: a misspelt `imgae=` would come back unembedded.
    model_config = ConfigDict(extra="forbid")

    def to_protobuf(self) -> Any:
        """Write the document into a protobuf message, as docarray does; see `schemas.wire`."""
        return DocProto.FromString(bytes(wire.document(self)))

    @classmethod
    def from_protobuf(cls, pb_msg: Any) -> Any:
        """Read a document from its protobuf message.

        Raises:
            InvalidInputError: A field is unknown or has a value of the wrong kind.
        """
        try:
            known = [field for field in pb_msg.data if field in cls.model_fields]
            return cls(**{field: cls._read(pb_msg.data[field], field) for field in known})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise InvalidInputError(f"{cls.__name__}.{field}: {first['msg']}") from None
        except (ValueError, TypeError):
            # What docarray says of a tensor whose bytes, shape and dtype disagree.
            raise InvalidInputError(f"{cls.__name__}: a field cannot be read") from None

    @classmethod
    def _read(cls, node: Any, field: str) -> Any:
        # docarray builds a pydantic validator for every id that it reads; this document's own
        # looks at it anyway.
        if node.type == ID._proto_type_name:
            return node.text
        return cls._get_content_from_node_proto(node, field)


class PageDoc(_WireDoc):
    """A page, as an image on the way in and as an embedding on the way out.

    Attributes:
        id: Name of the page; every error about the page carries it.
        image: Encoded image bytes (PNG, JPEG, WebP, TIFF, GIF or BMP). Never echoed.
        url: `data:` URI with the same, instead of `image`. Never echoed.
        embedding: (n_vectors, dim), float16 unless asked otherwise; unit rows, no padding rows.
            With `embedding_dtype` "int8" int8; with "binary" uint8 (n_vectors, dim / 8), eight
            signs a byte, the first in the highest bit.
        scale: What int8 values are multiplied by; what a sign of a binary embedding stands for.
        grid: [columns, rows] of vision patches that the embedding's image vectors stand for.
        box: [left, top, right, bottom] of the part of the page that the grid covers, in shares of
            the page's width and height; None where that is all of it, or there is no grid.
        tags: Free; comes back as it was sent.
        error: ``ErrorClass: message`` where `on_error` is "keep" and this page failed.
    """

    image: Optional[bytes] = None
    url: Optional[str] = None
    embedding: Optional[NdArray] = None
    scale: Optional[float] = None
    grid: Optional[List[int]] = None
    box: Optional[List[float]] = None
    tags: Dict[str, Any] = Field(default_factory=dict)
    error: Optional[str] = None


class QueryDoc(_WireDoc):
    """A query: text, or an image to search by page.

    Attributes:
        id: Name of the query; every error about the query carries it.
        text: What to look for.
        image: Encoded image bytes, instead of `text`. Never echoed.
        embedding: (n_vectors, dim), float16 unless asked otherwise; no padding rows. Unit rows, but
            of a text as long as each token counts where the checkpoint weighs them, in (0, 1].
        tags: Free; comes back as it was sent.
        error: ``ErrorClass: message`` where `on_error` is "keep" and this query failed.
    """

    text: Optional[str] = None
    image: Optional[bytes] = None
    embedding: Optional[NdArray] = None
    tags: Dict[str, Any] = Field(default_factory=dict)
    error: Optional[str] = None


class InfoDoc(_WireDoc):
    """What the encoder serves.

    Attributes:
        model: Name of the checkpoint.
        family: Of models, for example ``ColPali``.
        fingerprint: Of its files, the dtype and the pooling; embeddings of another fingerprint
            are not to be mixed with these.
        dtype: What the model computes in.
        device: Kind of device, ``cpu`` or ``cuda``.
        pool_factor: Of pages, where requests do not say.
    """

    model: Optional[str] = None
    family: Optional[str] = None
    fingerprint: Optional[str] = None
    dtype: Optional[str] = None
    device: Optional[str] = None
    pool_factor: Optional[int] = None


class ScoreDoc(_WireDoc):
    """Queries to be scored against pages.

    Attributes:
        queries: At least one.
        pages: At least one, unless resident pages are meant.
        resident: Instead of `pages` the ids of pages that were put into the ranker's memory
            (`/pages/put`); an empty list means all of them. In the answer the ids of the columns
            of `scores`: with `top_k` only those that some query ranks.
        scores: float32 (n_queries, n_pages), the MaxSim of each pair: the sum over the query's
            vectors of their largest dot product with the page's, in [-n_vectors, n_vectors].
            NaN where `on_error` is "keep" and the query or the page failed.
        ranking: int64 (n_queries, k), page indices from the best score down, k being `top_k` or
            the number of pages; failed pages come last. Of resident pages the indices in
            `resident` of the answer.
    """

    queries: DocList[QueryDoc] = Field(default_factory=DocList[QueryDoc])
    pages: DocList[PageDoc] = Field(default_factory=DocList[PageDoc])
    resident: Optional[List[str]] = None
    scores: Optional[NdArray] = None
    ranking: Optional[NdArray] = None


class HeatmapDoc(_WireDoc):
    """A page and a query, and where on the page each token of the query finds its like.

    Attributes:
        page: With `image` or `url`. Always embedded anew and never pooled: a heatmap needs to
            know which vector stands for which patch.
        query: With `text`.
        tokens: Pieces of the query's text, in order, as they were typed.
        kinds: What each is: "text"; with `all_tokens` also "prompt" (what the checkpoint wants
            around a query) and "special" (tokens without words).
        maps: float32 (n_tokens, rows, columns), the dot product of each token with each patch, in
            [-1, 1]; row 0 is the page's top, column 0 its left.
        grid: [columns, rows] of the maps.
        error: ``ErrorClass: message`` where `on_error` is "keep" and this document failed.
    """

    page: PageDoc
    query: QueryDoc
    tokens: List[str] = Field(default_factory=list)
    kinds: List[str] = Field(default_factory=list)
    maps: Optional[NdArray] = None
    grid: Optional[List[int]] = None
    error: Optional[str] = None


class StoreDoc(_WireDoc):
    """What the ranker holds in its memory; all fields are filled by `/pages/list`.

    Attributes:
        ids: Of the resident pages, in the order in which they came.
        size_mb: Memory that they take, in MiB.
        max_mb: Memory that they may take, in MiB.
    """

    ids: List[str] = Field(default_factory=list)
    size_mb: Optional[float] = None
    max_mb: Optional[float] = None
