"""A post is written as Jina writes it."""

from __future__ import annotations

import numpy as np
from docarray import DocList
from jina.proto import jina_pb2
from jina.types.request.data import DataRequest

from colpali_serve.client.requests import request_message
from colpali_serve.schemas import PageDoc


def test_a_request_is_the_one_that_jina_writes() -> None:
    pages = [PageDoc(id="a", image=b"\x89PNG"), PageDoc(embedding=np.ones((2, 4), np.float16))]
    found = request_message("/embed_images", pages, {"pool_factor": 2, "on_error": None})

    expected = DataRequest()
    expected.document_array_cls = DocList[PageDoc]
    expected.data.docs = DocList[PageDoc](pages)
    expected.header.exec_endpoint = "/embed_images"
    expected.header.request_id = found.header.request_id
    expected.parameters = {"pool_factor": 2}
    assert isinstance(found.proto_with_data, jina_pb2.DataRequestProto)
    assert found.proto_with_data == expected.proto_with_data


def test_requests_have_ids_of_their_own() -> None:
    ids = {request_message("/info", [], {}).header.request_id for _ in range(5)}
    assert len(ids) == 5
