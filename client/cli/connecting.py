"""The client of a command."""

from __future__ import annotations

from typing import Any

from colpali_serve.client.blocking import ColPaliClient
from colpali_serve.client.failures import advice
from colpali_serve.schemas import ServiceUnavailableError


def connect(host: str, port: int, **settings: Any) -> ColPaliClient:
    """Make a client with a progress bar, and see whether anybody answers.

    A long job goes on retrying a service that went away, but somebody who mistyped a port should
    not wait for that.

    Args:
        host: Where the service is.
        port: Of its gRPC gateway.
        settings: Of `ColPaliClient`.

    Raises:
        ServiceUnavailableError: Nobody answers.
    """
    client = ColPaliClient(host, port, progress=True, **settings)
    if not client.is_ready():
        address = f"{host}:{port}"
        raise ServiceUnavailableError(f"no service at {address} is ready: {advice(address)}")
    return client
