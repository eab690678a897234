"""The gRPC door: Jina's server, behind the same keys and limits as HTTP's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from jina.serve.runtimes.servers.grpc import GRPCServer

from colpali_serve.gateway.keys import Keys
from colpali_serve.gateway.limits import CALLER, Caller
from colpali_serve.schemas import AuthenticationError

_BEFORE_REFUSAL_S = 0.05
_OPEN = "/grpc.health.v1.Health/"


class GrpcDoor(GRPCServer):  # type: ignore[misc]
    """Serves `jina.Client`, our client, and every other gRPC client, on a port of its own.

    Beside Jina's services it has gRPC's own health and reflection services.

    Args:
        grpc_server_options: Options of the server; they win over the limits of this gateway.
        kwargs: What Jina passes on.
    """

    grpc_tracing_server_interceptors: Any

    def __init__(self, grpc_server_options: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(grpc_server_options=grpc_server_options, **kwargs)
        handler = self._request_handler
        limit = handler.limits.settings.max_request_bytes
        # Jina's default is no limit: one message could take all of the memory.
        self.grpc_server_options = {
            "grpc.max_receive_message_length": limit,
            **(grpc_server_options or {}),
        }
        tracing: list[Any] = self.grpc_tracing_server_interceptors or []
        self.grpc_tracing_server_interceptors = [*tracing, KeyInterceptor(handler.keys)]


class KeyInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls without a key, health checks apart, and says who the others come from.

    Args:
        keys: The keys that open the service.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Return the handler of a call, or one that refuses it."""
        inner = await continuation(handler_call_details)
        if inner is None or handler_call_details.method.startswith(_OPEN):
            return inner
        metadata = {
            key.lower(): value
            for key, value in handler_call_details.invocation_metadata or ()
            if isinstance(value, str)
        }
        try:
            CALLER.set(Caller(self._keys.owner(metadata), "grpc"))
        except AuthenticationError as error:
            return _refusal(inner, error.message)
        return inner


def _refusal(inner: Any, message: str) -> Any:
    async def refuse(_: Any, context: Any) -> None:
        if inner.request_streaming:
            # A stream that ends while its first message is being written fails in the caller's
            # gRPC with an internal error of its own instead of this one. Nothing is read meanwhile.
            await asyncio.sleep(_BEFORE_REFUSAL_S)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, message)

    # Of the same kind as the method, so that a stream is refused before its first message.
    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return kinds[inner.request_streaming, inner.response_streaming](refuse)
