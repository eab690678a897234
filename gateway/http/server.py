"""The HTTP server beside the gRPC one, in the same process and event loop."""

from __future__ import annotations

import logging
from typing import Any

import uvicorn
from fastapi import FastAPI
from jina.serve.runtimes.servers import BaseServer

from colpali_serve.gateway.http.app import create_app, start, stop
from colpali_serve.schemas import ConfigError

_IDLE_S = 75
"""How long an idle connection stays open: longer than proxies keep theirs, or they would now and
then send a request into a connection that is just being closed."""

_GRACE_S = 5
"""How long answers that are under way may take when the server stops."""


class HttpDoor(BaseServer):  # type: ignore[misc]
    """Serves the FastAPI application.

    Jina's own HTTP server is not used: it puts routes of its own into the application.

    Args:
        ssl_certfile: PEM file of the certificate chain; None serves plain HTTP.
        ssl_keyfile: PEM file of its private key.
        kwargs: What Jina passes on.

    Raises:
        ConfigError: One of the two TLS files without the other.
    """

    def __init__(
        self, ssl_certfile: str | None = None, ssl_keyfile: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if bool(ssl_certfile) != bool(ssl_keyfile):
            raise ConfigError("one of ssl_certfile and ssl_keyfile is missing, expected both")
        self._certfile, self._keyfile = ssl_certfile, ssl_keyfile
        self._app: FastAPI | None = None

    async def setup_server(self) -> None:
        """Open the port."""
        # It says on every start and stop what the log already says, and callers' addresses.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        self._app = create_app(self._request_handler)
        config = uvicorn.Config(
            self._app,
            host=self.host,
            port=self.port,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_GRACE_S,
            ssl_certfile=self._certfile,
            ssl_keyfile=self._keyfile,
        )
        config.load()
        self.server = _Server(config)
        self.server.lifespan = config.lifespan_class(config)
        await self.server.startup()
        if not self.server.started:
            raise ConfigError(f"port {self.port} cannot be opened, expected a free one")
        await start(self._app)

    async def run_server(self) -> None:
        """Serve until told to stop."""
        await self.server.main_loop()

    async def shutdown(self) -> None:
        """Let go of the port; answers under way have a few seconds."""
        if self.server is None or self._app is None:
            return  # it was called off before the port was open
        self.server.should_exit = True
        await self.server.shutdown()
        await stop(self._app)

    @property
    def should_exit(self) -> bool:
        """Whether the server has ended by itself."""
        return self.server is not None and bool(self.server.should_exit)


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Leave signals to Jina."""
