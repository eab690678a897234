import grpc
import grpc.aio
import pytest
from jina.excepts import InternalNetworkError
from jina.proto import jina_pb2

from colpali_serve.gateway.redaction import InternalError, redact_network_error, redact_status
from colpali_serve.schemas import InvalidPageError
from tests.gateway.executors import SECRET


def status(name, *args):
    message = jina_pb2.StatusProto(code=jina_pb2.StatusProto.ERROR, description=f"{name}{args!r}")
    message.exception.name = name
    message.exception.executor = "Front"
    message.exception.args.extend(args)
    message.exception.stacks.extend(["Traceback", f'File "{SECRET}"'])
    return message


def test_an_error_of_a_caller_s_making_keeps_its_words():
    message = status("InvalidPageError", "page 'a': image is 0x0", "a")
    full = redact_status(message)
    assert full == "Front: InvalidPageError(\"page 'a': image is 0x0\", 'a')"
    assert message.description == "InvalidPageError: page 'a': image is 0x0"
    assert list(message.exception.args) == ["page 'a': image is 0x0", "a"]
    assert list(message.exception.stacks) == []


@pytest.mark.parametrize("name", ["RuntimeError", "ConfigError", "ModelLoadError", "ColPaliError"])
def test_an_error_of_the_server_keeps_nothing(name):
    message = status(name, f"cannot read {SECRET}")
    full = redact_status(message)
    assert SECRET in full
    assert "Traceback" in full
    assert SECRET not in str(message)
    assert message.exception.name == "InternalError"
    assert list(message.exception.args) == [InternalError().message]
    assert message.exception.executor == ""


def test_a_typed_error_without_a_message():
    message = status("InvalidInputError")
    redact_status(message)
    assert message.description == "InvalidInputError"


def test_success_is_left_alone():
    message = jina_pb2.StatusProto()
    assert redact_status(message) == ""
    assert message == jina_pb2.StatusProto()


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE),
        (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_addresses_stay_inside(code, seen):
    trailing = grpc.aio.Metadata(("pod", "10.1.2.3"))
    original = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, "ipv4:10.1.2.3:8080")
    error = InternalNetworkError(original, "r1", {"10.1.2.3:8080"}, "ipv4:10.1.2.3:8080 is down")
    plain = redact_network_error(error)
    assert isinstance(plain, InternalNetworkError)
    assert plain.code() == seen
    assert plain.request_id == "r1"
    assert "10.1.2.3" not in f"{plain.details()}{plain!r}{plain.trailing_metadata()}"
    assert plain.details().endswith(("try again later", "or with fewer items"))


def test_internal_error_is_no_class_that_clients_know():
    assert not isinstance(InternalError(), InvalidPageError)
    assert InternalError().item is None
