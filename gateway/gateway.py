"""The gateway class that Flows name."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from jina.serve.runtimes.gateway.gateway import BaseGateway
from jina.serve.runtimes.servers.composite import CompositeBaseServer

from colpali_serve.gateway.grpc_door import GrpcDoor
from colpali_serve.gateway.handler import GuardedRequestHandler
from colpali_serve.gateway.http.server import HttpDoor
from colpali_serve.gateway.settings import GatewaySettings
from colpali_serve.schemas import ConfigError, ServiceUnavailableError

_DOORS: dict[str, type[GrpcDoor] | type[HttpDoor]] = {"grpc": GrpcDoor, "http": HttpDoor}


class ColPaliGateway(CompositeBaseServer, BaseGateway):  # type: ignore[misc]
    """Gateway that answers every request, by gRPC and HTTP, with a result or a typed error.

    Beyond Jina's own gateways it refuses endpoints that no Executor binds (Jina would send the
    documents back unchanged), sends a request straight to the Executor that does the work, and
    lets no stack, path or address of the server out with an error. A Flow that asks for
    ``protocol: [grpc, http]`` and two ports gets both doors, before the same request handler.

    Args:
        routes: Endpoint -> name of the one Executor that serves it, for example
            ``{"/embed_queries": "encoder"}``. Other endpoints pass through the whole Flow, and so
            does a request whose caller chose with `target_executor`.
        kwargs: Any setting of `GatewaySettings`, and what Jina passes on.

    Raises:
        ConfigError: A setting has a value that is not allowed, a route names an Executor that the
            Flow does not have, a protocol is none of grpc and http, or Jina's internals are not
            those of the release that this gateway was written for.
    """

    def __init__(self, routes: dict[str, str] | None = None, **kwargs: Any) -> None:
        # Jina's YAML loader names its own handler class; ours extends that one.
        given = {name: kwargs.pop(name) for name in GatewaySettings.model_fields if name in kwargs}
        settings = GatewaySettings.from_environment(given)
        kwargs["req_handler_cls"] = partial(GuardedRequestHandler, routes=routes, settings=settings)
        super().__init__(**kwargs)
        self.servers = [
            _door(protocol)(**arguments)
            for protocol, arguments in zip(self.protocols, self._server_kwargs, strict=False)
        ]

    async def setup_server(self) -> None:
        """Learn what the Executors bind, then open the ports.

        Raises:
            ConfigError: A route names an endpoint that its Executor does not bind.
            ServiceUnavailableError: The start was called off while an Executor was still missing.
        """
        await self._request_handler.learn_endpoints(self.is_cancel)
        if self.is_cancel.is_set():
            # Jina would go on, fail over what it does not know and log that as the reason.
            raise ServiceUnavailableError("the start was called off before all Executors were up")
        await super().setup_server()

    async def shutdown(self) -> None:
        """Close the doors, then the connections to the Executors."""
        for server in sorted(self.servers, key=lambda server: isinstance(server, GrpcDoor)):
            # gRPC's comes last, it takes the connections along.
            await server.shutdown()
        if not any(isinstance(server, GrpcDoor) for server in self.servers):
            await self._request_handler.close()
        self._teardown_instrumentation()

    async def run_server(self) -> None:
        """Serve until told to stop."""
        await asyncio.gather(*(server.run_server() for server in self.servers))

    @property
    def _should_exit(self) -> bool:
        # Jina polls this; a door without an opinion (gRPC's) must not end the gateway.
        return any(getattr(server, "should_exit", False) for server in self.servers)


def _door(protocol: Any) -> type[GrpcDoor] | type[HttpDoor]:
    name = str(getattr(protocol, "name", protocol)).lower()
    if name not in _DOORS:
        raise ConfigError(f"protocol is {name!r}, expected one of {', '.join(_DOORS)}", name)
    return _DOORS[name]
