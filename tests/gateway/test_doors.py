"""Both doors: the same keys, the same limits, encrypted where that is set."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx2 as httpx
import pytest
import trustme
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from jina.proto import jina_pb2, jina_pb2_grpc

from colpali_serve.client import ColPaliClient
from colpali_serve.schemas import (
    AuthenticationError,
    OverloadedError,
    TimeLimitError,
    TooLargeError,
)
from tests.gateway.doors import Doors, call, healthy, open_doors

KEY, OTHER = "a-key-of-continuous-integration", "another-key-of-the-website"
LIMITS = """  uses_with:
    api_keys_file: {keys}
    max_request_mb: 1
    max_held_mb: 1
    max_concurrent: 2
    max_pages: 5
    time_limit_s: 2.5
    cors_origins: ["https://search.example.com"]
"""


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    keys = folder / "keys"
    keys.write_text(f"# who may call\nci:{KEY}\n\nweb:{OTHER}\n")
    with open_doors(folder, LIMITS.format(keys=keys)) as opened:
        yield opened


@pytest.fixture(scope="module")
def http(doors: Doors) -> Iterator[httpx.Client]:
    with doors.http(headers={"x-api-key": KEY}, timeout=30) as client:
        yield client


def client_of(doors: Doors, **settings: object) -> ColPaliClient:
    return ColPaliClient("localhost", doors.port, retries=0, **{"api_key": KEY, **settings})


def kind(response: httpx.Response) -> str:
    return str(response.json()["error"]["type"])


BODY = {"items": ["a"]}
NO_KEYS = [
    {},
    {"authorization": f"Bearer {KEY}x"},
    {"authorization": KEY},
    {"authorization": f"Basic {KEY}"},
    {"authorization": "Bearer"},
    {"x-api-key": KEY.upper()},
    {"x-api-key": ""},
    {"authorization": "Bearer wrong", "x-api-key": KEY},
]
KEYS = [
    {"authorization": f"Bearer {KEY}"},
    {"authorization": f"bearer  {OTHER}"},
    {"x-api-key": OTHER},
]
ROUTES = [
    "/embed_images",
    "/embed_queries",
    "/score",
    "/score_embeddings",
    "/heatmap",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/score",
    "/no-such-route",
]


@pytest.mark.parametrize("headers", NO_KEYS)
def test_http_without_the_right_key(doors: Doors, headers: dict[str, str]) -> None:
    with doors.http(headers=headers) as client:
        for route in ROUTES:
            response = client.post(route, json=BODY)
            assert (response.status_code, kind(response)) == (401, "AuthenticationError")
            assert response.headers["www-authenticate"] == "Bearer"
            assert KEY not in response.text
        for route in ("/metrics", "/version"):
            assert client.get(route).status_code == 401


@pytest.mark.parametrize("metadata", NO_KEYS)
def test_grpc_without_the_right_key(doors: Doors, metadata: dict[str, str]) -> None:
    given = tuple(metadata.items())
    empty = jina_pb2.google_dot_protobuf_dot_empty__pb2.Empty()
    with doors.channel() as channel:
        calls: list[Callable[[], object]] = [
            lambda: call(channel, "a", given),
            lambda: list(jina_pb2_grpc.JinaRPCStub(channel).Call(iter([]), metadata=given)),
            lambda: jina_pb2_grpc.JinaInfoRPCStub(channel)._status(empty, metadata=given),
            lambda: jina_pb2_grpc.JinaGatewayDryRunRPCStub(channel).dry_run(empty, metadata=given),
            lambda: list(
                reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                    iter([reflection_pb2.ServerReflectionRequest(list_services="")]),
                    metadata=given,
                )
            ),
        ]
        for attempt in calls:
            with pytest.raises(grpc.RpcError) as caught:
                attempt()
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
            assert KEY not in caught.value.details()


@pytest.mark.parametrize("headers", KEYS)
def test_every_key_opens_both_doors(doors: Doors, headers: dict[str, str]) -> None:
    with doors.http(headers=headers) as client:
        assert client.post("/embed_queries", json=BODY).json() == [[[1.0, 0.0]]]
        assert client.get("/metrics").status_code == 200
    with doors.channel() as channel:
        assert call(channel, "a", tuple(headers.items())) == "ok"


def test_health_needs_no_key(doors: Doors) -> None:
    with doors.channel() as channel, doors.http() as client:
        assert healthy(channel)
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 200
        # Files that anybody may have; they ask for a key themselves.
        for path in ("/", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200


def test_our_client_sends_its_key(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client_of(doors).embed_queries(["a"])[0].embedding.tolist() == [[1.0, 0.0]]
    monkeypatch.setenv("COLPALI_API_KEY", KEY)
    client = client_of(doors, api_key=None)
    assert client.is_ready()
    monkeypatch.setenv("COLPALI_API_KEY", "")
    for wrong in (client_of(doors, api_key=None), client_of(doors, api_key="wrong")):
        with pytest.raises(AuthenticationError):
            wrong.embed_queries(["a"])
        with pytest.raises(AuthenticationError):
            wrong.is_ready()


def test_keys_are_never_logged(doors: Doors) -> None:
    log = doors.server.log()
    assert KEY not in log and OTHER not in log


def test_too_many_bytes_on_either_door(doors: Doors, http: httpx.Client) -> None:
    long = "x" * 2**21
    response = http.post("/embed_queries", json={"items": [long]})
    assert (response.status_code, kind(response)) == (413, "TooLargeError")
    with pytest.raises(TooLargeError, match="batch_pages"):
        client_of(doors).embed_queries([long])
    assert client_of(doors).embed_queries(["fine"])


def test_too_many_pages_on_either_door(doors: Doors, http: httpx.Client) -> None:
    image = {"url": "data:image/png;base64,aGk="}
    assert http.post("/embed_images", json={"items": [image] * 5}).status_code == 200
    response = http.post("/embed_images", json={"items": [image] * 6})
    assert (response.status_code, kind(response)) == (413, "TooLargeError")
    with doors.channel() as channel:
        assert call(channel, "a", (("x-api-key", KEY),), count=5) == "ok"
        assert call(channel, "a", (("x-api-key", KEY),), count=6) == "TooLargeError"


def test_one_key_s_requests_are_counted_over_both_doors(doors: Doors, http: httpx.Client) -> None:
    with ThreadPoolExecutor() as pool, doors.channel() as channel:
        running = [
            pool.submit(http.post, "/embed_queries", json={"items": ["1.5"]}),
            pool.submit(call, channel, "1.5", (("x-api-key", KEY),)),
        ]
        time.sleep(0.6)
        response = http.post("/embed_queries", json=BODY)
        assert (response.status_code, kind(response)) == (429, "OverloadedError")
        assert int(response.headers["retry-after"]) >= 1
        assert call(channel, "a", (("x-api-key", KEY),)) == "OverloadedError"
        with pytest.raises(OverloadedError, match="'ci' has 2 requests under way"):
            client_of(doors).embed_queries(["a"])
        # Another's requests are none of its business.
        assert call(channel, "a", (("x-api-key", OTHER),)) == "ok"
        assert running[0].result().status_code == 200
        assert running[1].result() == "ok"
    assert http.post("/embed_queries", json=BODY).status_code == 200


def test_all_requests_bytes_are_counted_over_both_doors(doors: Doors, http: httpx.Client) -> None:
    half = "1.5 " + " " * 600_000
    with ThreadPoolExecutor() as pool, doors.channel() as channel:
        running = pool.submit(call, channel, half, (("x-api-key", KEY),))
        time.sleep(0.6)
        response = http.post("/embed_queries", json={"items": [half]})
        assert (response.status_code, kind(response)) == (429, "OverloadedError")
        assert call(channel, half, (("x-api-key", OTHER),)) == "OverloadedError"
        assert call(channel, "a", (("x-api-key", OTHER),)) == "ok"
        assert running.result() == "ok"
    assert http.post("/embed_queries", json={"items": [half]}).status_code == 200


def test_what_takes_too_long_is_called_off_on_either_door(doors: Doors, http: httpx.Client) -> None:
    before = doors.server.log().count("was called off")
    began = time.monotonic()
    response = http.post("/embed_queries", json={"items": ["20"]})
    assert (response.status_code, kind(response)) == (504, "TimeLimitError")
    with pytest.raises(TimeLimitError, match=r"longer than 2\.5 s"):
        client_of(doors).embed_queries(["20"])
    assert time.monotonic() - began < 15
    wait_for(lambda: doors.server.log().count("was called off") == before + 2)


def test_an_http_caller_that_leaves_takes_its_request_along(doors: Doors) -> None:
    before = doors.server.log().count("was called off")
    with (
        doors.http(headers={"x-api-key": KEY}, timeout=0.5) as client,
        contextlib.suppress(httpx.TimeoutException),
    ):
        client.post("/embed_queries", json={"items": ["20"]})
    wait_for(lambda: doors.server.log().count("was called off") == before + 1, 2.0)


def test_a_body_that_stops_is_given_up(doors: Doors) -> None:
    with socket.create_connection(("localhost", doors.http_port), timeout=20) as door:
        head = "POST /embed_queries HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
        door.sendall(f"{head}x-api-key: {KEY}\r\n\r\n{{".encode())
        began = time.monotonic()
        assert door.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < 5


def test_other_websites_may_not_call_unless_they_are_named(http: httpx.Client) -> None:
    for origin, allowed in (
        ("https://search.example.com", True),
        ("https://evil.example.com", False),
        ("null", False),
    ):
        headers = {"origin": origin}
        response = http.post("/embed_queries", json=BODY, headers=headers)
        assert ("access-control-allow-origin" in response.headers) == allowed
        asked = {**headers, "access-control-request-method": "POST"}
        preflight = http.options("/embed_queries", headers=asked)
        assert ("access-control-allow-origin" in preflight.headers) == allowed
        wrong = http.post("/embed_queries", json=[], headers=headers)
        assert ("access-control-allow-origin" in wrong.headers) == allowed


def test_security_headers_stand_on_every_answer(http: httpx.Client) -> None:
    for path in ("/", "/docs", "/nope", "/health/live", "/metrics"):
        headers = http.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"


def test_both_doors_are_encrypted_where_that_is_set(tmp_path: Path) -> None:
    authority = trustme.CA()
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    own = authority.issue_cert("localhost")
    own.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(blob.bytes() for blob in own.cert_chain_pems))
    roots = authority.cert_pem.bytes()
    (tmp_path / "roots.pem").write_bytes(roots)
    more = f"  ssl_certfile: {chain}\n  ssl_keyfile: {key}"
    environ = {"COLPALI_API_KEYS": f"ci:{KEY},web:{OTHER}"}
    with open_doors(tmp_path, more, environ) as doors:
        trusting = ssl.create_default_context(cafile=str(tmp_path / "roots.pem"))
        with doors.http("https", verify=trusting, headers={"x-api-key": KEY}) as client:
            assert client.post("/embed_queries", json=BODY).status_code == 200
        credentials = grpc.ssl_channel_credentials(roots)
        with doors.channel(credentials) as channel:
            assert healthy(channel)
            assert call(channel, "a", (("x-api-key", KEY),)) == "ok"
        with doors.http("http") as client, pytest.raises(httpx.HTTPError):
            client.get("/health/live")
        with doors.channel() as channel, pytest.raises(grpc.RpcError):
            healthy(channel)


def wait_for(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.05)
