"""Requests of the HTTP door to the Flow, through the same guard as those of the gRPC door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
from docarray import DocList
from jina.excepts import InternalNetworkError
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest
from starlette.requests import Request

from colpali_serve.client.requests import request_message
from colpali_serve.gateway.limits import Limits
from colpali_serve.gateway.redaction import InternalError
from colpali_serve.schemas import (
    HeatmapDoc,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    ServiceUnavailableError,
    TimeLimitError,
    error_from_name,
)

Document = TypeVar("Document", PageDoc, QueryDoc, ScoreDoc, HeatmapDoc)
Result = TypeVar("Result")


class FlowCaller:
    """Posts documents to the Flow.

    Args:
        handler: The gateway's `GuardedRequestHandler`.
    """

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    async def post(
        self,
        endpoint: str,
        documents: Sequence[Document],
        parameters: Mapping[str, Any] | None = None,
    ) -> list[Document]:
        """Send documents of one class, in one request, and get as many back, in order.

        Cancelling it takes the request back from the Executors.

        Args:
            endpoint: For example ``/embed_images``.
            documents: Of one class; none at all gets none back.
            parameters: As the endpoint expects them; None values are left out.

        Raises:
            ColPaliError: As the Flow answered, or `ServiceUnavailableError`, or `InternalError`.
        """
        if not documents:
            return []
        kind: Any = DocList[type(documents[0])]
        message = request_message(endpoint, documents, parameters or {})
        response = await self._send(message, kind)
        status = response.header.status
        if status.code == jina_pb2.StatusProto.ERROR:
            raise _error(status.exception)
        response.document_array_cls = kind
        return list(response.docs)

    async def _send(self, message: DataRequest, kind: Any) -> Any:
        try:
            stream = self._handler.stream(_only(message), return_type=kind)
            async with aclosing(stream) as responses:
                return await anext(responses)
        except InternalNetworkError as error:
            late = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            cls = TimeLimitError if late else ServiceUnavailableError
            raise cls(str(error.details())) from error


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Await work for a caller; when the caller goes away, or it takes too long, cancel it.

    Args:
        request: Whose body has been read to its end.
        work: What to await.

    Raises:
        ClientGoneError: Nobody waits for the answer any more.
        TimeLimitError: It took longer than a request may.
    """
    limits: Limits = request.app.state.limits
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_gone(request))
    try:
        limit_s = limits.settings.time_limit_s
        await asyncio.wait({task, watch}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGoneError if watch.done() else limits.too_slow()
    finally:
        for one in (task, watch):
            one.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


class ClientGoneError(Exception):
    """A caller closed its connection before it was answered."""


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _only(message: DataRequest) -> AsyncIterator[DataRequest]:
    yield message


def _error(exception: Any) -> Exception:
    if exception.name == InternalError.__name__:
        return InternalError()
    arguments = [str(argument) for argument in exception.args]
    message = arguments[0] if arguments else exception.name
    return error_from_name(exception.name, message, arguments[1] if len(arguments) > 1 else None)
