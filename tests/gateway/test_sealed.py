"""A sealed request is the same request for everybody who asks it something."""

import copy

import numpy as np
import pytest
from docarray import DocList
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jina.proto import jina_pb2
from jina.proto.serializer import DataRequestListProto, DataRequestProto
from jina.types.request.data import DataRequest

from colpali_serve.client.requests import request_message
from colpali_serve.gateway.sealed import count_pages, keep_sealed, open_head
from colpali_serve.schemas import ConfigError, InvalidInputError, PageDoc, QueryDoc, ScoreDoc

PAGES = [PageDoc(id=name, embedding=np.full((3, 4), 0.5, np.float16)) for name in "ab"]


@pytest.fixture(autouse=True)
def sealing(monkeypatch):
    # Set back afterwards: other tests of this process look at Jina as it is.
    for name in ("_decompress", "_decompress_wo_data", "to_bytes", "nbytes"):
        monkeypatch.setattr(DataRequest, name, getattr(DataRequest, name), raising=True)
    monkeypatch.setattr(
        DataRequestProto, "SerializeToString", staticmethod(DataRequestProto.SerializeToString)
    )
    had = "sealed" in vars(DataRequest)
    keep_sealed()
    yield
    if not had:
        del DataRequest.sealed


@pytest.fixture
def arrived():
    return DataRequest(bytes(request_message("/embed_images", PAGES, {"n": 1}).buffer))


def whole(request):
    return jina_pb2.DataRequestProto.FromString(DataRequestProto.SerializeToString(request))


def test_documents_stay_sealed_while_the_head_changes(arrived):
    before = whole(arrived)
    open_head(arrived)
    assert arrived.is_decompressed_wo_data
    assert arrived.header.exec_endpoint == "/embed_images"
    assert arrived.parameters == {"n": 1.0}
    arrived.header.target_executor = "encoder"
    arrived.routes.add().executor = "gateway"
    assert arrived.is_decompressed_wo_data
    before.header.target_executor = "encoder"
    before.routes.add().executor = "gateway"
    assert whole(arrived) == before
    assert arrived.nbytes == len(bytes(arrived)) == before.ByteSize()


def test_documents_can_be_read_at_any_time(arrived):
    open_head(arrived)
    arrived.header.target_executor = "encoder"
    arrived.document_array_cls = DocList[PageDoc]
    assert [page.id for page in arrived.docs] == ["a", "b"]
    assert arrived.header.target_executor == "encoder"
    assert count_pages(arrived) == 2
    arrived.data.docs = arrived.docs[:1]
    assert count_pages(DataRequest(DataRequestProto.SerializeToString(arrived))) == 1


@pytest.mark.parametrize("opened", [False, True])
def test_copies_and_lists_have_the_documents(arrived, opened):
    if opened:
        open_head(arrived)
    expected = whole(arrived)
    assert copy.deepcopy(arrived).proto_with_data == expected
    several = DataRequestListProto.FromString(DataRequestListProto.SerializeToString([arrived]))
    assert several[0].proto_with_data == expected


def test_pages_inside_documents_are_counted():
    docs = [ScoreDoc(queries=DocList[QueryDoc]([QueryDoc()]), pages=DocList[PageDoc](PAGES))]
    request = request_message("/score", docs * 3, {})
    open_head(request)
    assert count_pages(request) == 6


@pytest.mark.parametrize("junk", [b"\xff", b"\x22\x7f", b"\x0a\x02\xff\xff", b"\x23"])
def test_what_is_no_request_is_refused(junk):
    with pytest.raises(InvalidInputError, match="cannot be read"):
        open_head(DataRequest(junk))


def test_documents_that_are_none_are_refused():
    request = DataRequest(b"\x22\x04\x0a\x02\x0a\x7f")
    open_head(request)
    with pytest.raises(InvalidInputError, match="documents cannot be read"):
        count_pages(request)


WRITTEN = bytes(request_message("/score", PAGES, {"n": 1}).buffer)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(WRITTEN) - 1), st.binary(max_size=6), st.integers(0, 6))
def test_a_damaged_request_is_refused_or_counted(place, junk, dropped):
    damaged = DataRequest(WRITTEN[:place] + junk + WRITTEN[place + dropped :])
    try:
        assert count_pages(damaged) >= 0
    except InvalidInputError:
        return
    # What was let through can be sent on.
    assert DataRequestProto.SerializeToString(damaged)


def test_another_jina_is_refused(monkeypatch):
    with monkeypatch.context() as another:
        another.delattr(DataRequest, "sealed")
        another.delattr(DataRequest, "_decompress_wo_data")
        with pytest.raises(ConfigError, match="DataRequest has no _decompress_wo_data"):
            keep_sealed()
