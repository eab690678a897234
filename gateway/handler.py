"""What stands between a caller's requests and the Executors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import closing
from typing import Any

from jina.excepts import InternalNetworkError
from jina.types.request.data import Response

from colpali_serve.gateway.admission import Visit
from colpali_serve.gateway.discreet import DiscreetRequestHandler
from colpali_serve.gateway.internals import (
    RequestHandler,
    ResultHandler,
    bound_endpoints,
    end_of_stream,
    executor_names,
    share_graph,
    stream_terms,
    wrap_handlers,
)
from colpali_serve.gateway.keys import Keys
from colpali_serve.gateway.leaving import (
    CallsOfStreams,
    belongs,
    call_off,
    called_off_at_the_end,
    noting,
)
from colpali_serve.gateway.limits import Limits
from colpali_serve.gateway.metrics import Metrics
from colpali_serve.gateway.redaction import (
    Failure,
    InternalError,
    redact_network_error,
    redact_status,
    without_documents,
)
from colpali_serve.gateway.routing import RoutingTable, check_parameters, check_routes
from colpali_serve.gateway.sealed import keep_sealed, open_head
from colpali_serve.gateway.settings import GatewaySettings
from colpali_serve.gateway.turns import END, Turns
from colpali_serve.schemas import EMBED_IMAGES, EMBED_QUERIES, ColPaliError, InvalidInputError


class GuardedRequestHandler(DiscreetRequestHandler):
    """Jina's request handler with checks before the Executors and redaction after them.

    Args:
        args: Jina's runtime arguments.
        logger: The gateway's `JinaLogger`.
        routes: As in `ColPaliGateway`.
        settings: Keys and limits; None takes the defaults.
        kwargs: What Jina passes on.

    Attributes:
        keys: Who may call.
        limits: What a caller may ask for.
        metrics: Figures of both doors.
        last_forward: When the encoder last answered a forward, by `time.monotonic`; None before.

    Raises:
        ConfigError: `routes` does not fit the Flow, keys cannot be read, or Jina's internals are
            not as expected.
    """

    def __init__(
        self,
        args: Any,
        logger: Any,
        routes: object = None,
        settings: GatewaySettings | None = None,
        **kwargs: Any,
    ) -> None:
        # Jina has a place for interceptors that trace; None where nothing is traced.
        tracing = kwargs.pop("aio_tracing_client_interceptors", None) or []
        interceptors = [*tracing, CallsOfStreams()]
        keep_sealed()
        super().__init__(args, logger, aio_tracing_client_interceptors=interceptors, **kwargs)
        share_graph(self.streamer)
        self._routes = check_routes(routes, executor_names(self.streamer))
        # Without knowledge of the Executors everything is refused; the port is still closed then.
        self._table = RoutingTable({}, {})
        settings = settings or GatewaySettings()
        self.keys = Keys.load(settings)
        self.limits = Limits(settings)
        self.metrics = Metrics()
        self.last_forward: float | None = None
        wrap_handlers(self.streamer, self._guard_request, self._guard_result)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """What the Executors bind."""
        return self._table.endpoints

    async def learn_endpoints(self, is_cancel: Any) -> None:
        """Wait for the Executors and ask them what they bind.

        Args:
            is_cancel: Event that ends the waiting.

        Raises:
            ConfigError: A route names an endpoint that its Executor does not bind.
        """
        bound = await bound_endpoints(self.streamer, is_cancel)
        if bound is not None:
            self._table = RoutingTable(self._routes, bound)

    def _guard_request(self, inner: RequestHandler) -> RequestHandler:
        def handle(request: Any, return_type: Any) -> tuple[Any, Any]:
            if request is END:
                return _done(end_of_stream()), None
            try:
                open_head(request)
            except ColPaliError as error:
                return _done(Failure.of(Response(), error)), None
            visit = Visit(request, self.endpoints, self.limits, self.metrics)
            try:
                visit.admit()
                self._check(request)
                with noting() as running:
                    future, floating = self._send(inner, request, return_type)
            except ColPaliError as error:
                # Raised out of here it would end the stream, with every other request in it.
                visit.end(type(error).__name__)
                return _done(Failure.of(request, error)), None
            task = asyncio.ensure_future(self._settle(request, future, running))
            task.add_done_callback(visit.settled)
            belongs(task)
            return task, floating

        return handle

    def _check(self, request: Any) -> None:
        """Refuse what no Executor can answer, and choose who shall answer the rest."""
        header = request.header
        try:
            header.target_executor = self._table.target(
                header.exec_endpoint, header.target_executor
            )
            check_parameters(request)
        except InvalidInputError as error:
            self.logger.info(f"request {header.request_id} refused: {error.message}")
            raise

    def _send(self, inner: RequestHandler, request: Any, return_type: Any) -> tuple[Any, Any]:
        try:
            return inner(request=request, return_type=return_type)
        except Exception as error:
            self._log_failure(request, f"gateway: {error!r}", exc_info=True)
            raise InternalError from error

    def _guard_result(self, inner: ResultHandler) -> ResultHandler:
        def handle(result: Any) -> Any:
            # Jina's metrics count what ends here against what began in its request handler.
            return result if isinstance(result, Failure) else inner(result)

        return handle

    async def _settle(self, request: Any, future: Awaitable[Any], running: set[Any]) -> Any:
        endpoint = request.header.exec_endpoint
        try:
            async with asyncio.timeout(self.limits.settings.time_limit_s):
                response = await self._await(request, future)
        except InternalError as error:
            return Failure.of(request, error)
        except TimeoutError:
            call_off(running)
            late = self.limits.too_slow()
            self.logger.error(f"request {request.header.request_id}: {late.message}")
            return Failure.of(request, late)
        for route in response.routes:
            redact_status(route.status)
        full = redact_status(response.header.status)
        if not full:
            if endpoint in (EMBED_IMAGES, EMBED_QUERIES):
                self.last_forward = time.monotonic()
            return response
        self._log_failure(request, full, response.header.status.exception.name)
        return without_documents(response)

    async def _await(self, request: Any, future: Awaitable[Any]) -> Any:
        try:
            return await future
        except InternalNetworkError as error:
            self._log_failure(request, f"{error.code()}: {error.details()}")
            raise redact_network_error(error) from error
        except Exception as error:
            self._log_failure(request, f"gateway: {error!r}", exc_info=True)
            raise InternalError from error

    def _log_failure(self, request: Any, full: str, name: str = "", exc_info: bool = False) -> None:
        header = request.header
        text = f"request {header.request_id} at {header.exec_endpoint!r} failed in {full}"
        if name in ("", InternalError.__name__):
            self.logger.error(text, exc_info=exc_info)
        else:
            self.logger.info(text)

    async def stream(
        self, request_iterator: Any, context: Any = None, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Answer a stream of requests; what its caller leaves behind is called off.

        Jina lets requests run on whose caller has gone, and Executors work for nobody.

        Args:
            request_iterator: The requests, asynchronous.
            context: gRPC's context.
            args: What Jina passes on.
            kwargs: What Jina passes on.

        Yields:
            The responses.
        """
        turns = Turns(request_iterator, *stream_terms(self.streamer, context))
        with called_off_at_the_end(), closing(turns):
            async for response in super().stream(turns.taken(), context, *args, **kwargs):
                yield response
                turns.answered()

    # Jina serves the stream by this name, too.
    Call = stream


def _done(response: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(response)
    return future
