"""Flows and raw gRPC calls for the gateway's tests."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import grpc
from docarray import BaseDoc, DocList
from jina import Client, Flow
from jina.proto import jina_pb2_grpc
from jina.types.request.data import DataRequest

from colpali_serve.schemas import QueryDoc

ADDRESS = "127.0.0.1"
FLOW = """
jtype: Flow
version: '1'
gateway:
  uses: ColPaliGateway
  py_modules: [colpali_serve.gateway]
  protocol: grpc
  uses_with:
    routes: {routes}
executors:
  - name: front
    uses: Front
    py_modules: [tests.gateway.executors]
  - name: back
    uses: Back
    py_modules: [tests.gateway.executors]
"""


@contextmanager
def serving(yaml: str) -> Iterator[Client]:
    """Run a Flow on a free port and hand out a client of it."""
    with Flow.load_config(yaml) as flow:
        yield Client(host=ADDRESS, port=flow.port)


def queries(*texts: str) -> DocList[QueryDoc]:
    return DocList[QueryDoc]([QueryDoc(id=text, text=text) for text in texts])


def request(endpoint: str, doc: BaseDoc, target_executor: str = "") -> DataRequest:
    message = DataRequest()
    message.header.exec_endpoint = endpoint
    message.header.target_executor = target_executor
    message.data.docs = DocList[type(doc)]([doc])
    return message


def call(client: Client, requests: Iterable[DataRequest], ordered: bool = False) -> list:
    """Send unlike requests in one stream, which Jina's client cannot do."""
    metadata = [("__results_in_order__", "true")] if ordered else []
    with grpc.insecure_channel(f"{ADDRESS}:{client.args.port}") as channel:
        return list(jina_pb2_grpc.JinaRPCStub(channel).Call(iter(requests), metadata=metadata))
