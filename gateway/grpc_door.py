"""The gRPC door: Jina's server in front of the guarded request handler."""

from __future__ import annotations

from jina.serve.runtimes.servers.grpc import GRPCServer


class GrpcDoor(GRPCServer):  # type: ignore[misc]
    """Serves `jina.Client`, our client, and every other gRPC client, on a port of its own."""
