"""The gateway in front of real Executors, over gRPC."""

import os
import subprocess
import sys
import threading

import pytest
from docarray import DocList
from jina.excepts import BadServer
from jina.proto import jina_pb2, jina_pb2_grpc
from jina.types.request.data import DataRequest, SingleDocumentRequest

from colpali_serve.schemas import PageDoc, QueryDoc, ScoreDoc, wire
from tests.gateway.calls import answers, call, channel, queries, request
from tests.gateway.executors import SECRET

KNOWN = "/embed_images, /embed_queries, /score_embeddings"
HIDDEN = "the service failed on this request; its log has the details"


def post(client, endpoint, docs, **kwargs):
    return client.post(endpoint, docs, return_type=DocList[QueryDoc], **kwargs)


def status_of(error):
    return error.value.args[0].status


@pytest.mark.parametrize("stream", [True, False])
def test_an_endpoint_that_nobody_binds_is_refused(client, stream):
    with pytest.raises(BadServer) as error:
        post(client, "/nope", queries("a"), stream=stream)
    status = status_of(error)
    message = f"endpoint '/nope' does not exist, expected one of {KNOWN}"
    assert status.code == jina_pb2.StatusProto.ERROR
    assert status.exception.name == "InvalidInputError"
    assert list(status.exception.args) == [message, "/nope"]
    assert status.description == f"InvalidInputError: {message}"


@pytest.mark.parametrize("ordered", [True, False])
def test_a_refused_request_leaves_its_stream_alone(client, ordered):
    sent = [
        request("/nope", QueryDoc(id="a")),
        request("/embed_queries", QueryDoc(id="b", text="crash")),
        request("/embed_queries", QueryDoc(id="c", text="fine")),
        request("/nope", QueryDoc(id="d")),
        request("/embed_queries", QueryDoc(id="e", text="fine")),
    ]
    received = call(client, sent, ordered)
    names = {r.header.request_id: r.header.status.exception.name for r in received}
    assert names == dict(
        zip(
            [r.header.request_id for r in sent],
            ["InvalidInputError", "InternalError", "", "InvalidInputError", ""],
            strict=True,
        )
    )
    if ordered:
        assert list(names) == [r.header.request_id for r in sent]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_stream_ends_whose_last_answer_came_before_its_end(client, ordered):
    answered = threading.Semaphore(0)

    def requests():
        for endpoint in ("/embed_queries", "/nope", "/embed_queries"):
            yield request(endpoint, QueryDoc(text="fine"))
            assert answered.acquire(timeout=30)

    received = []
    for response in answers(client, requests(), ordered):
        received.append(response)
        answered.release()
    assert len(received) == 3


@pytest.mark.parametrize("ordered", [True, False])
def test_refusals_do_not_use_up_a_stream_s_places(client, ordered):
    # The Flow lets four requests of a stream in at once.
    sent = [
        request("/nope" if number % 3 else "/embed_queries", QueryDoc(id=str(number), text="fine"))
        for number in range(30)
    ]
    received = call(client, sent, ordered)
    assert {r.header.request_id for r in received} == {r.header.request_id for r in sent}
    refused = [r for r in received if r.header.status.exception.name == "InvalidInputError"]
    assert len(refused) == 20


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("text", "name", "args"),
    [
        ("invalid", "InvalidQueryError", ["query 'q': text is empty", "q"]),
        ("overloaded", "OverloadedError", ["the queue is full"]),
        ("encoding", "EncodingError", ["query 'q': not finite", "q"]),
        ("config", "InternalError", [HIDDEN]),
        ("crash", "InternalError", [HIDDEN]),
    ],
)
def test_what_a_caller_sees_of_an_error(client, stream, text, name, args):
    with pytest.raises(BadServer) as error:
        post(client, "/embed_queries", queries(text), stream=stream)
    status = status_of(error)
    assert status.exception.name == name
    assert list(status.exception.args) == args
    assert list(status.exception.stacks) == []
    assert status.description == f"{name}: {args[0]}"


@pytest.mark.parametrize("text", ["invalid", "config", "crash"])
def test_nothing_of_the_server_is_in_a_failed_response(client, text):
    page = QueryDoc(id="q", text=text, image=b"bytes-of-an-image")
    [response] = call(client, [request("/embed_queries", page)])
    assert [route.executor for route in response.routes] == ["gateway", "front"]
    wire = response.SerializeToString()
    for leak in (SECRET.encode(), b"Traceback", b".py", b"bytes-of-an-image"):
        assert leak not in wire


def test_an_error_between_two_executors_is_redacted_too(client):
    # Unrouted: `front` fails, `back` is passed by, the response comes back through the whole Flow.
    [response] = call(client, [request("/embed_images", PageDoc(id="p", image=b"an-image"))])
    assert response.header.status.exception.name == "InvalidQueryError"
    wire = response.SerializeToString()
    assert b"Traceback" not in wire
    assert b"an-image" not in wire


def test_a_route_passes_the_other_executors_by(client):
    assert post(client, "/embed_queries", queries("a"))[0].tags == {"seen_by": ["front"]}


def test_the_caller_s_target_wins_over_a_route(client):
    for target, seen in (("back", ["back"]), ("front|back", ["front", "back"])):
        docs = post(client, "/embed_queries", queries("a"), target_executor=target)
        assert docs[0].tags == {"seen_by": seen}


def test_an_endpoint_without_a_route_passes_through_the_flow(client):
    doc = ScoreDoc(queries=queries("a"), pages=DocList[PageDoc]([PageDoc(id="p")]))
    docs = client.post("/score_embeddings", DocList[ScoreDoc]([doc]), return_type=DocList[ScoreDoc])
    assert docs[0].pages[0].tags == {"seen_by": "back"}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "nobody",
            "target_executor 'nobody' matches no executor that binds '/embed_queries', "
            "expected one of front, back",
        ),
        ("(", "target_executor '(' is not allowed, expected names joined by '|'"),
    ],
)
def test_a_target_that_cannot_answer_is_refused(client, target, message):
    with pytest.raises(BadServer) as error:
        post(client, "/embed_queries", queries("a"), target_executor=target)
    assert status_of(error).exception.name == "InvalidInputError"
    assert status_of(error).exception.args[0].startswith(message)


def test_parameters_that_jina_chokes_on_fail_only_their_request(client):
    with pytest.raises(BadServer) as error:
        post(client, "/embed_queries", queries("a"), parameters={"front": 5})
    assert status_of(error).exception.name == "InternalError"
    assert post(client, "/embed_queries", queries("a"))[0].id == "a"


def test_parameters_that_are_no_numbers_leave_their_stream_alone(client):
    sent = [request("/embed_queries", QueryDoc(text="fine")) for _ in range(2)]
    sent[0].parameters = {"top_k": float("nan")}
    failed, answered = call(client, sent, ordered=True)
    assert failed.header.status.exception.name == "InvalidInputError"
    assert "NaN or infinite" in failed.header.status.description
    assert answered.header.status.code == jina_pb2.StatusProto.SUCCESS


def test_the_flow_reports_that_it_is_ready(client):
    assert client.is_flow_ready()


def test_status_tells_versions_and_nothing_else(client):
    with channel(client) as open_channel:
        stub = jina_pb2_grpc.JinaInfoRPCStub(open_channel)
        info = stub._status(jina_pb2.google_dot_protobuf_dot_empty__pb2.Empty())
    assert dict(info.envs) == {}
    assert {"jina", "docarray", "python", "colpali-serve"} <= set(info.jina)
    assert not {"uid", "session-id", "platform-version"} & set(info.jina)


def test_streaming_one_document_is_refused(client):
    message = SingleDocumentRequest()
    message.header.exec_endpoint = "/embed_queries"
    message.document_cls = QueryDoc
    message.data.doc = QueryDoc(text="a")
    with channel(client) as open_channel:
        stub = jina_pb2_grpc.JinaSingleDocumentRequestRPCStub(open_channel)
        [response] = stub.stream_doc(message)
    assert response.header.status.exception.name == "InvalidInputError"
    assert "does not stream documents" in response.header.status.description


def test_the_gateway_starts_where_no_model_library_is_installed():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[1:])); import colpali_serve.gateway"
    )
    absent = ["torch", "torchvision", "transformers", "colpali_engine", "peft", "pypdfium2"]
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *absent], check=True)


def test_naming_the_gateway_keeps_jina_from_reporting_home():
    code = "import os, colpali_serve.gateway; os.environ['JINA_OPTOUT_TELEMETRY']"
    environ = {key: os.environ[key] for key in os.environ if key != "JINA_OPTOUT_TELEMETRY"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environ, check=True)


def _field(number: int, held: bytes) -> bytes:
    message = wire.Message()
    message.add(number, held)
    return bytes(message)


@pytest.mark.parametrize(
    ("documents", "name"),
    [
        # A document that ends behind its list, a field that ends behind its document.
        (b"\x0a\x7f", "InvalidInputError"),
        (_field(1, b"\x0a\x7f"), "InvalidInputError"),
        # What only the Executor reads: content that ends behind its field, and is no UTF-8.
        (_field(1, _field(1, _field(1, b"text") + _field(2, b"\x0a\x7f"))), "InternalError"),
        (_field(1, _field(1, _field(1, b"text") + _field(2, _field(1, b"\xff")))), "InternalError"),
    ],
)
def test_bytes_that_are_no_documents_fail_only_their_request(client, documents, name):
    head = jina_pb2.DataRequestProto()
    head.header.request_id, head.header.exec_endpoint = "bad", "/embed_queries"
    bad = head.SerializeToString() + _field(4, _field(1, documents))
    good = request("/embed_queries", QueryDoc(text="ok"))
    good.header.request_id = "good"
    with channel(client) as open_channel:
        stream = open_channel.stream_stream(
            "/jina.JinaRPC/Call", request_serializer=bytes, response_deserializer=DataRequest
        )
        answers = {
            answer.header.request_id: answer.header.status
            for answer in stream(iter([bad, good.proto.SerializeToString()]), timeout=30)
        }
    assert answers["bad"].code == jina_pb2.StatusProto.ERROR
    assert answers["bad"].exception.name == name
    assert not answers["bad"].exception.stacks
    assert answers["good"].code != jina_pb2.StatusProto.ERROR
