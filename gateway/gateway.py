"""The gateway class that Flows name."""

from __future__ import annotations

from functools import partial
from typing import Any

from jina.serve.runtimes.gateway.grpc import GRPCGateway

from colpali_serve.gateway.handler import GuardedRequestHandler
from colpali_serve.schemas import ServiceUnavailableError


class ColPaliGateway(GRPCGateway):  # type: ignore[misc]
    """gRPC gateway that answers every request with a result or with a typed error.

    Beyond Jina's own gateway it refuses endpoints that no Executor binds (Jina would send the
    documents back unchanged), sends a request straight to the Executor that does the work, and
    lets no stack, path or address of the server out with an error.

    Args:
        routes: Endpoint -> name of the one Executor that serves it, for example
            ``{"/embed_queries": "encoder"}``. Other endpoints pass through the whole Flow, and so
            does a request whose caller chose with `target_executor`.
        kwargs: What Jina passes on.

    Raises:
        ConfigError: A route names an Executor that the Flow does not have, or Jina's internals
            are not those of the release that this gateway was written for.
    """

    def __init__(self, routes: dict[str, str] | None = None, **kwargs: Any) -> None:
        # Jina's YAML loader names its own handler class; ours extends that one.
        kwargs["req_handler_cls"] = partial(GuardedRequestHandler, routes=routes)
        super().__init__(**kwargs)

    async def setup_server(self) -> None:
        """Learn what the Executors bind, then open the port.

        Raises:
            ConfigError: A route names an endpoint that its Executor does not bind.
            ServiceUnavailableError: The start was called off while an Executor was still missing.
        """
        await self._request_handler.learn_endpoints(self.is_cancel)
        if self.is_cancel.is_set():
            # Jina would go on, fail over what it does not know and log that as the reason.
            raise ServiceUnavailableError("the start was called off before all Executors were up")
        await super().setup_server()
