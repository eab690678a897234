"""Requests and responses pass the gateway with their documents unread.

Jina means to do so too, but on the way it writes whole messages to count their bytes, and reads
them again, several times over. Here a `DataRequest` parses all but its documents, which stay views
of the bytes they came as until somebody asks for them. It is the same `DataRequest` for everybody
else: what it is asked for, and what it sends, does not change.
"""

from __future__ import annotations

from typing import Any

import jina
from google.protobuf.message import DecodeError
from jina.proto import jina_pb2, serializer
from jina.types.request.data import DataRequest

from colpali_serve.schemas import ConfigError, InvalidInputError, wire

_DATA = wire.number_of("data", jina_pb2.DataRequestProto.DESCRIPTOR)
_DOCS = wire.number_of("docs", jina_pb2.DataRequestProto.DataContentProto.DESCRIPTOR)
_PATCHED = ("_decompress", "_decompress_wo_data", "to_bytes", "nbytes")


def keep_sealed() -> None:
    """Let Jina's `DataRequest` keep its documents sealed, in this process.

    Raises:
        ConfigError: This release of Jina is built in another way.
    """
    if hasattr(DataRequest, "sealed"):
        return
    missing = [name for name in _PATCHED if not hasattr(DataRequest, name)]
    if missing or not hasattr(serializer.DataRequestProto, "SerializeToString"):
        raise ConfigError(
            f"jina {jina.__version__} does not fit this gateway, which was written for jina 3.34: "
            f"DataRequest has no {', '.join(missing) or 'serializer'}"
        )
    DataRequest.sealed = ()
    DataRequest._decompress = _open
    DataRequest._decompress_wo_data = _open_head
    DataRequest.to_bytes = _to_bytes
    DataRequest.nbytes = property(_size)
    serializer.DataRequestProto.SerializeToString = staticmethod(_to_bytes)


def open_head(request: Any) -> None:
    """Read what stands around a request's documents.

    Args:
        request: A `DataRequest`.

    Raises:
        InvalidInputError: It cannot be read.
    """
    try:
        request.proto_wo_data  # noqa: B018  (the property reads)
    except (ValueError, DecodeError) as error:
        raise InvalidInputError("the request cannot be read") from error


def count_pages(request: Any) -> int:
    """Count the pages of a request without reading any: documents, or the pages inside them.

    Args:
        request: A `DataRequest`.

    Raises:
        InvalidInputError: It, or its documents, cannot be read.
    """
    open_head(request)
    if request.is_decompressed_with_data:
        data = request.proto_with_data.data.SerializeToString()
        held = [memoryview(data)]
    else:
        held = [held for field in request.sealed for _, held, _ in wire.fields(field)]
    try:
        return sum(
            wire.count(docs, inside="pages")
            for data in held
            for number, docs, _ in wire.fields(data)
            if number == _DOCS
        )
    except ValueError as error:
        raise InvalidInputError("the request's documents cannot be read") from error


def _open_head(self: Any) -> None:
    head: list[memoryview] = []
    sealed: list[memoryview] = []
    for number, _, field in wire.fields(memoryview(self.buffer)):
        (sealed if number == _DATA else head).append(field)
    self._pb_body = jina_pb2.DataRequestProtoWoData.FromString(b"".join(head))
    self.sealed, self.buffer = tuple(sealed), None


def _open(self: Any) -> None:
    if self.is_decompressed_with_data:
        raise ValueError("the buffer is already decompressed")
    self._pb_body = jina_pb2.DataRequestProto.FromString(_to_bytes(self))
    self.sealed, self.buffer = (), None


def _to_bytes(self: Any) -> bytes:
    if self.buffer is not None:
        return bytes(self.buffer)
    return b"".join([self._pb_body.SerializePartialToString(), *self.sealed])


def _size(self: Any) -> int:
    if self.buffer is not None:
        return len(self.buffer)
    return len(self._pb_body.SerializePartialToString()) + sum(map(len, self.sealed))
