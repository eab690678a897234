"""The gateway class that Flows name."""

from __future__ import annotations

from functools import partial
from typing import Any

from jina.serve.runtimes.gateway.grpc import GRPCGateway

from colpali_serve.gateway.handler import GuardedRequestHandler


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
        """
        await self._request_handler.learn_endpoints(self.is_cancel)
        await super().setup_server()
