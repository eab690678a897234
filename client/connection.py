"""Posts to a service, with deadlines and retries."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio
from docarray import DocList

from colpali_serve.client.channels import Channels
from colpali_serve.client.failures import TryAgain, advice, find_call, from_call, from_status
from colpali_serve.client.jina_import import import_jina
from colpali_serve.client.loop import submit
from colpali_serve.client.requests import request_message
from colpali_serve.schemas import (
    ColPaliError,
    ConfigError,
    HeatmapDoc,
    OverloadedError,
    PageDoc,
    QueryDoc,
    RemoteError,
    ScoreDoc,
    ServiceUnavailableError,
    StoreDoc,
)

Document = TypeVar("Document", PageDoc, QueryDoc, ScoreDoc, HeatmapDoc, StoreDoc)
_KINDS = (PageDoc, QueryDoc, ScoreDoc, HeatmapDoc, StoreDoc)

_log = logging.getLogger("colpali_serve.client")
_MAX_BACKOFF_S = 30.0
_POLL_S = 0.25
_POLL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a post may take and how often it is tried.

    Attributes:
        timeout_s: Deadline of one attempt, in seconds; None waits for ever.
        retries: Further attempts where the service is unavailable or overloaded.
        backoff_s: Wait before the first of them, in seconds; it doubles each time.
    """

    timeout_s: float | None
    retries: int
    backoff_s: float

    def wait_s(self, attempt: int) -> float:
        """Return the wait after failed attempt number `attempt`, from 0, in seconds."""
        # Clients that failed together must not come back together.
        spread = random.uniform(0.5, 1.5)
        return min(self.backoff_s * 2.0 ** min(attempt, 20), _MAX_BACKOFF_S) * spread


class Connection:
    """A service at an address.

    Args:
        host: Name or address.
        port: Of the gateway's gRPC server.
        tls: Encrypt, and verify the server by the system's certificates.
        patience: Deadline and retries of each post.
        api_key: Sent along, if there is one.

    Raises:
        ConfigError: The key holds what cannot be sent.
    """

    def __init__(
        self, host: str, port: int, tls: bool, patience: Patience, api_key: str | None = None
    ) -> None:
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise ConfigError("api_key holds characters that are no printable ASCII")
        self._metadata = () if api_key is None else (("authorization", f"Bearer {api_key}"),)
        self.address = f"{host}:{port}"
        self._patience = patience
        self._tls = tls
        self._channels = Channels(self.address, tls)
        # Here, in the caller's thread: in that of the loop it would not get hold of signals.
        import_jina()

    def post(
        self, endpoint: str, documents: Sequence[Document], parameters: Mapping[str, Any]
    ) -> Future[list[Document]]:
        """Send documents of one class and get as many back, in order.

        Args:
            endpoint: For example ``/embed_images``.
            documents: At least one; they travel in one request.
            parameters: As the endpoint expects them; None values are left out.

        Returns:
            The answer to come; its `result` raises `ColPaliError`.
        """
        return submit(self._post(endpoint, documents, parameters))

    async def _post(
        self, endpoint: str, documents: Sequence[Document], parameters: Mapping[str, Any]
    ) -> list[Document]:
        # Not the type of the first: it may be a class of the caller's own, derived from ours.
        kind = next(cls for cls in _KINDS if isinstance(documents[0], cls))
        message = request_message(endpoint, documents, parameters)
        attempt = 0
        while True:
            try:
                answer = await self._attempt(endpoint, message, kind)
                break
            except TryAgain as failure:
                if attempt >= self._patience.retries:
                    raise failure.error from failure.__cause__
                wait_s = self._patience.wait_s(attempt)
                attempt += 1
                _log.info("retry %d in %.1f s: %s", attempt, wait_s, failure.error)
            await asyncio.sleep(wait_s)
        sent, received = [d.id for d in documents], [d.id for d in answer]
        if sent != received:
            raise RemoteError(
                f"{self.address}: {endpoint} answered with documents {received[:4]}, "
                f"expected {sent[:4]}"
            )
        return answer

    async def _attempt(self, endpoint: str, message: Any, kind: Any) -> list[Any]:
        from jina.proto import jina_pb2_grpc

        try:
            async with self._channels.borrowed() as channel:
                # A refusal is an answer, too: the channel has done its work.
                call = jina_pb2_grpc.JinaRPCStub(channel).Call(
                    [message], timeout=self._patience.timeout_s, metadata=self._metadata
                )
                parts = [part async for part in call]
        except Exception as error:
            failure = from_call(error, self.address, self._patience.timeout_s)
            found = find_call(error)
            if isinstance(failure, OverloadedError) or (
                found is not None and found.code() == grpc.StatusCode.UNAVAILABLE
            ):
                raise TryAgain(failure) from error
            raise failure from error
        return [document for part in parts for document in self._documents(endpoint, part, kind)]

    def _documents(self, endpoint: str, part: Any, kind: Any) -> list[Any]:
        from jina.proto import jina_pb2

        try:
            status = part.header.status
            if status.code != jina_pb2.StatusProto.ERROR:
                part.document_array_cls = DocList[kind]
                return list(part.docs)
        except ColPaliError as error:
            raise RemoteError(
                f"{self.address}: {endpoint} answered with something else than "
                f"{kind.__name__}: {error.message}"
            ) from error
        except Exception as error:
            raise from_call(error, self.address, self._patience.timeout_s) from error
        refusal = from_status(status)
        if isinstance(refusal, OverloadedError):
            raise TryAgain(refusal) from None
        raise refusal from None

    def ready(self) -> Future[bool]:
        """Ask once whether the gateway and all Executors behind it answer.

        The result raises `AuthenticationError` if they answer to others only.
        """
        return submit(self._ready(_POLL_TIMEOUT_S))

    def wait_ready(self, timeout_s: float) -> Future[None]:
        """Ask again and again; the result raises `ServiceUnavailableError` after `timeout_s`."""
        return submit(self._wait_ready(timeout_s))

    def close(self) -> Future[None]:
        """Close the channel, if one is open; posts that are under way fail."""
        return submit(self._channels.close())

    async def _ready(self, timeout_s: float) -> bool:
        from jina.proto import jina_pb2, jina_pb2_grpc
        from jina.serve.networking.utils import send_health_check_async

        try:
            health = await send_health_check_async(self.address, timeout=timeout_s, tls=self._tls)
        except grpc.aio.AioRpcError:
            return False
        if health.status != health.SERVING:
            return False
        # The gateway is well; a dry run tells whether the Executors behind it are.
        try:
            async with self._channels.new() as channel:
                status = await jina_pb2_grpc.JinaGatewayDryRunRPCStub(channel).dry_run(
                    jina_pb2.google_dot_protobuf_dot_empty__pb2.Empty(),
                    timeout=timeout_s,
                    metadata=self._metadata,
                )
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                # It is there, and waiting would change nothing.
                raise from_call(error, self.address, timeout_s) from error
            # An Executor served without a gateway knows no dry runs, its health says it all.
            return bool(error.code() == grpc.StatusCode.UNIMPLEMENTED)
        return bool(status.code == jina_pb2.StatusProto.SUCCESS)

    async def _wait_ready(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while not await self._ready(min(_POLL_TIMEOUT_S, max(end - time.monotonic(), _POLL_S))):
            if time.monotonic() + _POLL_S > end:
                raise ServiceUnavailableError(
                    f"the service at {self.address} was not ready within {timeout_s:g} s: "
                    f"{advice(self.address)}"
                )
            await asyncio.sleep(_POLL_S)
