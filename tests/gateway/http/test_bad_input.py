"""What is wrong gets a clear status and message on every route, and the service goes on."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import httpx2 as httpx
import pytest
from PIL import Image

from tests.engine.test_images import png_header
from tests.executors.posting import LEAK, png
from tests.gateway.http.conftest import MAX_REQUEST_MB, Service
from tests.gateway.http.sending import error, page, pdf, uri

PAGE = uri(page(1))
VECTORS = [[[1.0, 0.0], [0.0, 1.0]]]
GOOD = {
    "/embed_images": {"items": [{"url": PAGE}]},
    "/embed_queries": {"items": ["a"]},
    "/score_embeddings": {"image_embeddings": VECTORS, "query_embeddings": VECTORS},
    "/score": {"images": [PAGE], "queries": ["a"]},
    "/v1/embeddings": {"input": ["a"]},
    "/v1/rerank": {"query": "a", "documents": [PAGE]},
    "/v1/score": {"text_1": "a", "text_2": [PAGE]},
}
IMAGES = {
    "/embed_images": lambda image: {"items": [image]},
    "/score": lambda image: {"images": [image], "queries": ["a"]},
    "/v1/embeddings": lambda image: {"input": [image]},
    "/v1/rerank": lambda image: {"query": "a", "documents": [image]},
    "/v1/score": lambda image: {"text_1": "a", "text_2": [image]},
}


@pytest.fixture(autouse=True)
def _goes_on(http: httpx.Client) -> Iterator[None]:
    yield
    assert http.post("/embed_queries", json={"items": ["still there?"]}).status_code == 200


@pytest.mark.parametrize("route", GOOD)
@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"items": [NaN]}', b"\xff\xfe", b'{"a": 1}}', b"[" * 3000]
)
def test_malformed_json(http: httpx.Client, route: str, body: bytes) -> None:
    message, _ = error(http.post(route, content=body, headers=JSON), 400)
    assert message.startswith("the body is not JSON (")


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("route", GOOD)
@pytest.mark.parametrize("body", [[], "text", 5, None, {}, {"items": 7, "input": {}, "query": []}])
def test_wrong_types(http: httpx.Client, route: str, body: object) -> None:
    response = http.post(route, content=json.dumps(body), headers=JSON)
    assert response.status_code in (400, 422)
    error(response, response.status_code)


@pytest.mark.parametrize(
    ("route", "field", "value"),
    [
        ("/embed_images", "items", [5]),
        ("/embed_images", "items", [{"uri": "x"}]),
        ("/embed_images", "pool_factor", 0),
        ("/embed_images", "embedding_dtype", "int3"),
        ("/embed_images", "encoding_format", "hex"),
        ("/embed_images", "dpi", 10_000),
        ("/embed_images", "imgaes", []),
        ("/embed_queries", "items", [None]),
        ("/embed_queries", "items", "a"),
        ("/score_embeddings", "image_embeddings", [[[1.0], [1.0, 2.0]]]),
        ("/score_embeddings", "image_embeddings", [["a"]]),
        ("/score_embeddings", "image_embeddings", [{"embedding": "AA==", "shape": [9, 9]}]),
        ("/score_embeddings", "image_embeddings", []),
        ("/score", "queries", []),
        ("/v1/embeddings", "input", [[1, 2]]),
        ("/v1/embeddings", "task", "classification"),
        ("/v1/rerank", "top_n", 0),
        ("/v1/rerank", "query", 5),
    ],
)
def test_wrong_values_are_named(http: httpx.Client, route: str, field: str, value: object) -> None:
    message, item = error(http.post(route, json={**GOOD[route], field: value}), 422)
    assert message.startswith(field)
    assert item is not None and item.startswith(field)


def test_embeddings_that_do_not_fit(http: httpx.Client) -> None:
    body = {"image_embeddings": VECTORS, "query_embeddings": [[[1.0, 0.0, 0.0]]]}
    message, _ = error(http.post("/score_embeddings", json=body), 400)
    assert "has 2 dimensions, expected 3" in message or "has 3 dimensions" in message
    huge = {"image_embeddings": [[[1e300, 0.0]]], "query_embeddings": VECTORS}
    error(http.post("/score_embeddings", json=huge), 400)


@pytest.mark.parametrize("route", GOOD)
def test_other_media_types(http: httpx.Client, route: str) -> None:
    body = json.dumps(GOOD[route])
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "a;b"):
        message, _ = error(http.post(route, content=body, headers={"content-type": kind}), 415)
        assert "expected application/json or multipart/form-data" in message
    assert http.post(route, content=body).status_code == 200


@pytest.mark.parametrize("route", GOOD)
def test_broken_forms(http: httpx.Client, route: str) -> None:
    no_boundary = {"content-type": "multipart/form-data"}
    error(http.post(route, content=b"--x\r\n", headers=no_boundary), 400)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"--y\r\n\r\n", b"--x\r\nnonsense\r\n\r\nx\r\n--x--\r\n", b""):
        response = http.post(route, content=body, headers=headers)
        assert response.status_code in (400, 422), response.text
        error(response, response.status_code)
    files = [("pictures", ("a.png", b"x", "image/png"))]
    error(http.post(route, files=files), 422)


@pytest.mark.parametrize("path", ["/nope", "/embed_images/", "/v1", "/%2e%2e/x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_addresses_that_are_none(http: httpx.Client, path: str, method: str) -> None:
    message, _ = error(http.request(method, path), 404)
    assert message.startswith("there is nothing at this address")


def test_methods_that_are_not_allowed(http: httpx.Client) -> None:
    response = http.get("/embed_images")
    assert error(response, 405)[0] == "method GET is not allowed here, expected POST"
    assert response.headers["allow"] == "POST"
    error(http.put("/health/live"), 405)
    error(http.request("TRACE", "/"), 405)


@pytest.mark.parametrize("route", GOOD)
def test_a_huge_body_is_refused_by_its_announced_length(
    service: Service, http: httpx.Client, route: str
) -> None:
    # Not a byte of the body is sent: nothing of it can have been read.
    with connected(service) as door:
        door.sendall(
            f"POST {route} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            "content-length: 99999999999\r\n\r\n".encode()
        )
        answer = b""
        while b"TooLargeError" not in answer and (part := door.recv(65536)):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"TooLargeError" in answer


def test_a_huge_body_of_unknown_length_is_not_read_to_its_end(service: Service) -> None:
    chunk = b"100000\r\n" + b"a" * 2**20 + b"\r\n"
    sent = 0
    with connected(service) as door, contextlib.suppress(ConnectionError):
        door.sendall(
            b"POST /embed_images HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(200):
            door.sendall(chunk)
            sent += 1
            door.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                assert door.recv(65536).startswith(b"HTTP/1.1 413 ")
                break
            door.settimeout(20)
    assert sent < 10 * MAX_REQUEST_MB


def test_a_huge_file_is_refused(http: httpx.Client) -> None:
    files = [("files", ("a.png", bytes((MAX_REQUEST_MB + 1) * 2**20), "image/png"))]
    error(http.post("/embed_images", files=files), 413)


@pytest.mark.parametrize("route", IMAGES)
@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("data:image/png;base64,", "image is empty"),
        ("data:image/png;base64,!!!!", "bad base64"),
        ("data:image/png,plain", "not ';base64,'"),
        (uri(b"<html>"), "no known format"),
        (uri(b"%PDF-1.7"), "is a PDF"),
        (uri(page(1)[:-200]), "truncated or broken"),
        (uri(png_header(60_000, 60_000)), "pixels"),
        (uri(png(Image.new("1", (4000, 4000)))), "pixels"),
    ],
)
def test_images_that_lie(http: httpx.Client, route: str, image: str, why: str) -> None:
    message, item = error(http.post(route, json=IMAGES[route](image)), 400)
    assert why in message
    assert item == "0"


def test_a_bomb_in_a_file(http: httpx.Client) -> None:
    bomb = png(Image.new("1", (30_000, 3_000)))
    assert len(bomb) < 100_000
    files = [("files", ("bomb.png", bomb, "image/png"))]
    for headers in ({}, {"accept": "application/x-ndjson"}):
        response = http.post(
            "/embed_images", files=files, data={"thumbnails": "true"}, headers=headers
        )
        assert "pixels" in response.text
        assert "thumbnail" not in response.text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"%PDF-1.4 and nothing else", "the PDF is broken"),
        (pdf(1)[:-300], ""),
        (pdf(3).replace(b"/MediaBox [ 0 0 ", b"/MediaBox [ 0 0 9"), ""),
    ],
    ids=["a first line", "cut off", "huge pages"],
)
def test_broken_pdfs(http: httpx.Client, content: bytes, why: str) -> None:
    files = [("files", ("a.pdf", content, "application/pdf"))]
    response = http.post("/embed_images", files=files, data={"dpi": "300"})
    if response.status_code != 200:  # PDFium mends what it can
        message, item = error(response, 400)
        assert why in message
        assert item is not None and item.startswith("a.pdf")


def test_a_pdf_with_too_many_pages(http: httpx.Client) -> None:
    files = [("files", ("a.pdf", pdf(70), "application/pdf"))]
    message, _ = error(http.post("/embed_images", files=files, data={"dpi": "36"}), 413)
    assert message == "the request has 65 pages, expected at most 64; send it in parts"
    # A stream has begun by then; it ends with a line that says why.
    accept = {"accept": "application/x-ndjson"}
    fields = {"dpi": "36", "encoding_format": "base64"}
    answer = http.post("/embed_images", files=files, data=fields, headers=accept)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["index"] for line in lines] == list(range(65))
    assert ["error" in line for line in lines] == [False] * 64 + [True]
    assert lines[-1]["error"]["message"] == message


@pytest.mark.parametrize("route", IMAGES)
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/health/live",
        "http://localhost:{port}/health/live",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://0177.0.0.1/",
        "http://[::1]:{port}/",
        "http://[::ffff:7f00:1]/",
        "http://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "http://user@127.0.0.1/",
    ],
)
def test_addresses_of_this_machine(
    service: Service, http: httpx.Client, route: str, url: str
) -> None:
    port = service.address.rpartition(":")[2]
    message, item = error(http.post(route, json=IMAGES[route](url.replace("{port}", port))), 400)
    assert "expected an image on an allowed host" in message
    assert item == "0"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a.test/x", "//a.test", "http:/x"])
def test_other_schemes_are_not_even_addresses(http: httpx.Client, url: str) -> None:
    error(http.post("/embed_images", json={"items": [{"url": url}]}), 400)


def test_a_body_that_stops_is_given_up_by_its_caller_leaving(service: Service) -> None:
    with connected(service) as door:
        door.sendall(b"POST /embed_images HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        time.sleep(0.2)


def test_nothing_of_the_server_is_in_any_answer(service: Service, http: httpx.Client) -> None:
    for path in ("/docs", "/openapi.json", "/metrics", "/version", "/health/ready"):
        answer = http.get(path)
        assert not LEAK.search(answer.text), path
        assert "server" not in answer.headers
    # The model is a folder here: its name may be known, its place not.
    assert str(service.log.parent.parent) not in http.get("/version").text


@contextlib.contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    host, _, port = service.address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as door:
        yield door
