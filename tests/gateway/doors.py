"""A Flow with both doors and an Executor that does nothing but wait."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import httpx2 as httpx
from docarray import DocList
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jina.proto import jina_pb2_grpc
from jina.types.request.data import DataRequest

from colpali_serve.schemas import QueryDoc
from tests.flows.processes import HOST, running
from tests.service import free_port

GATEWAY = """
jtype: Flow
version: '1'
gateway:
  uses: ColPaliGateway
  py_modules: [colpali_serve.gateway]
  protocol: [grpc, http]
  port: [{port}, {http_port}]
"""
FLOW = f"""{GATEWAY}\
{{more}}
executors:
  - name: slow
    uses: Slow
    py_modules: [tests.gateway.slow]
"""
_SERVE = """
import sys
from jina import Flow

if __name__ == "__main__":
    with Flow.load_config(sys.argv[1]) as flow:
        print("the Flow is up", flush=True)
        flow.block()
"""


class Doors(NamedTuple):
    """Where the doors are, and the log of what is behind them."""

    port: int
    http_port: int
    server: object

    def http(self, scheme: str = "http", **options: object) -> httpx.Client:
        return httpx.Client(base_url=f"{scheme}://localhost:{self.http_port}", **options)

    def channel(self, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
        address = f"localhost:{self.port}"
        if credentials is None:
            return grpc.insecure_channel(address)
        return grpc.secure_channel(address, credentials)


def open_doors(
    folder: Path, more: str = "", environ: Mapping[str, str] | None = None
) -> AbstractContextManager[Doors]:
    return serving(folder, FLOW.replace("{more}", more), environ)


@contextmanager
def serving(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Iterator[Doors]:
    """Serve a Flow whose YAML has places for ``port`` and ``http_port``."""
    port, http_port = free_port(), free_port()
    flow = folder / "flow.yml"
    flow.write_text(text.format(port=port, http_port=http_port))
    with running([sys.executable, "-c", _SERVE, flow], port, environ) as server:
        server.wait_until_logged("the Flow is up")
        yield Doors(port, http_port, server)


def call(
    channel: grpc.Channel, text: str, metadata: tuple[tuple[str, str], ...] = (), count: int = 1
) -> str:
    """Embed queries by raw gRPC; returns the class of the error that came back, or ``ok``."""
    message = DataRequest()
    message.header.exec_endpoint = "/embed_queries"
    message.data.docs = DocList[QueryDoc](QueryDoc(id=str(n), text=text) for n in range(count))
    stub = jina_pb2_grpc.JinaSingleDataRequestRPCStub(channel)
    answer = stub.process_single_data(message, metadata=metadata, timeout=30)
    return answer.header.status.exception.name or "ok"


def healthy(channel: grpc.Channel) -> bool:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


__all__ = ["HOST", "Doors", "call", "healthy", "open_doors", "serving"]
