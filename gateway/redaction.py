"""What of an error may leave the server."""

from __future__ import annotations

from typing import Any, Self

import grpc
import grpc.aio
from jina.excepts import InternalNetworkError
from jina.proto import jina_pb2
from jina.types.request.data import Response

from colpali_serve.schemas import (
    ColPaliError,
    EmbeddingShapeError,
    EncodingError,
    InvalidInputError,
    InvalidPageError,
    InvalidQueryError,
    OverloadedError,
    describe,
)

_PUBLIC = frozenset(
    cls.__name__
    for cls in (
        InvalidInputError,
        InvalidPageError,
        InvalidQueryError,
        EmbeddingShapeError,
        EncodingError,
        OverloadedError,
    )
)
"""Errors about a request. `ConfigError` and `ModelLoadError` are the operator's: they may name
files of the server."""

_DOWN = "the service is not available now, try again later"
_LATE = "the service did not answer in time, try again later or with fewer items"


class InternalError(ColPaliError):
    """Stands for every error of the server that is none of a caller's business."""

    def __init__(self) -> None:
        super().__init__("the service failed on this request; its log has the details")


def write_status(status: Any, error: ColPaliError) -> None:
    """Make a `StatusProto` say this error and nothing else."""
    status.Clear()
    status.code = jina_pb2.StatusProto.ERROR
    status.description = describe(error)
    status.exception.name = type(error).__name__
    status.exception.args.extend([str(arg) for arg in error.args])


def redact_status(status: Any) -> str:
    """Take out of a `StatusProto` what only the server's log should show.

    Args:
        status: Changed in place.

    Returns:
        What stood there, for the log; empty where the status is no error.
    """
    if status.code < jina_pb2.StatusProto.ERROR:
        return ""
    exception = status.exception
    args = list(exception.args)
    full = f"{exception.executor or 'gateway'}: {exception.name}{tuple(args)}"
    if exception.name not in _PUBLIC:
        full += "\n" + "".join(exception.stacks)
        write_status(status, InternalError())
        return full
    # The description is a repr of whatever was raised; the message says the same for people.
    status.description = f"{exception.name}: {args[0]}" if args else exception.name
    del exception.args[2:]
    del exception.stacks[:]
    return full


class Failure(Response):  # type: ignore[misc]
    """A response that the gateway made up itself, for a request that no Executor answered."""

    @classmethod
    def of(cls, request: Any, error: ColPaliError) -> Self:
        """Build the response to a request that ended in this error."""
        response = cls()
        response.header.request_id = request.header.request_id
        response.header.exec_endpoint = request.header.exec_endpoint
        write_status(response.header.status, error)
        return response


def without_documents(response: Any) -> Any:
    """Copy a failed response without its documents.

    Executors answer with the request itself when they fail, images included: the caller has
    those, and half-filled documents would pass for results.
    """
    bare = Response()
    bare.header.CopyFrom(response.header)
    bare.routes.extend(response.routes)
    return bare


def redact_network_error(error: Any) -> Any:
    """Build the error that a caller sees when an Executor could not be reached.

    Args:
        error: Jina's `InternalNetworkError`; its details name addresses of pods.
    """
    late = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    plain = grpc.aio.AioRpcError(
        # An Executor that is not found is as good as down, and callers retry on UNAVAILABLE.
        grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.UNAVAILABLE,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(),
        details=_LATE if late else _DOWN,
    )
    return InternalNetworkError(plain, request_id=error.request_id)
