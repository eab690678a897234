"""A Flow and raw gRPC calls for the gateway's tests."""

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from docarray import BaseDoc, DocList
from jina import Client
from jina.proto import jina_pb2_grpc
from jina.types.request.data import DataRequest

from colpali_serve.schemas import QueryDoc
from tests.flows.processes import HOST

DEADLINE_S = 60
"""Whoever is not answered at all fails instead of waiting for it."""

GATEWAY = """
jtype: Flow
version: '1'
gateway:
  uses: ColPaliGateway
  py_modules: [colpali_serve.gateway]
  protocol: grpc
  prefetch: 4
  uses_with:
    routes: {routes}
executors:
"""
FLOW = f"""{GATEWAY}\
  - name: front
    uses: Front
    py_modules: [tests.gateway.executors]
  - name: back
    uses: Back
    py_modules: [tests.gateway.executors]
"""


def channel(client: Client) -> grpc.Channel:
    return grpc.insecure_channel(f"{HOST}:{client.args.port}")


def queries(*texts: str) -> DocList[QueryDoc]:
    return DocList[QueryDoc]([QueryDoc(id=text, text=text) for text in texts])


def request(endpoint: str, doc: BaseDoc) -> DataRequest:
    message = DataRequest()
    message.header.exec_endpoint = endpoint
    message.data.docs = DocList[type(doc)]([doc])
    return message


def answers(
    client: Client, requests: Iterable[DataRequest], ordered: bool = False
) -> Iterator[Any]:
    """Send unlike requests in one stream, which Jina's client cannot do; yield what comes back."""
    metadata = [("__results_in_order__", "true")] if ordered else []
    with channel(client) as open_channel:
        stub = jina_pb2_grpc.JinaRPCStub(open_channel)
        yield from stub.Call(iter(requests), metadata=metadata, timeout=DEADLINE_S)


def call(client: Client, requests: Iterable[DataRequest], ordered: bool = False) -> list:
    """All `answers`."""
    return list(answers(client, requests, ordered))
