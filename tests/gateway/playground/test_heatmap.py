"""POST /heatmap, over the Flow that ships."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from colpali_serve.client import ColPaliClient
from tests.conftest import ROOT
from tests.gateway.playground import using
from tests.gateway.playground.conftest import Service

PDF = ROOT / "examples" / "pages" / "simh-faq.pdf"
WORDS = {"telescope": (0.55, 0.15), "invoice": (0.1, 0.75)}
SIZE = (400, 500)
PNG = {"accept": "image/png"}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return using.words_page(tmp_path / "words.png", WORDS, SIZE)


def post(
    address: str, *files: Path, headers: dict[str, str] | None = None, **fields: Any
) -> requests.Response:
    uploads = [("files", (file.name, file.read_bytes())) for file in files]
    return requests.post(
        f"{address}/heatmap", data=fields, files=uploads or None, headers=headers, timeout=60
    )


def as_json(address: str, headers: dict[str, str] | None = None, **body: Any) -> requests.Response:
    return requests.post(f"{address}/heatmap", json=body, headers=headers, timeout=60)


def data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def problem(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["message"]


def test_a_page_of_a_pdf_has_the_maps_that_grpc_gives(service: Service) -> None:
    answer = post(service.address, PDF, query="transcribe a CD", number=2).json()
    expected = ColPaliClient("localhost", service.port).heatmap("transcribe a CD", PDF, 2)
    assert (answer["file"], answer["page"]) == ("simh-faq.pdf", 2)
    assert answer["tokens"] == expected.tokens
    # The page's margins were cut off, and the map is of the whole page again.
    assert answer["grid"] == list(expected.grid)
    assert min(answer["grid"]) > 48
    np.testing.assert_allclose(answer["maps"], expected.maps, atol=1e-3)
    np.testing.assert_allclose(answer["max"], np.max(answer["maps"], axis=0))
    assert "image" not in answer


def test_json_takes_an_image_and_shows_all_tokens(address: str, words: Path) -> None:
    body = {"query": "invoice", "image": data_uri(words)}
    plain = as_json(address, **body).json()
    full = as_json(address, **body, all_tokens=True, return_image=True).json()
    assert set(plain["kinds"]) == {"text"}
    assert {"text", "special"} == set(full["kinds"])
    assert len(full["tokens"]) == len(full["maps"]) > len(plain["tokens"])
    np.testing.assert_allclose(full["max"], plain["max"], atol=1e-3)
    head, _, payload = full["image"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(payload))).size == SIZE


def test_a_picture_is_the_page_coloured_where_the_word_stands(address: str, words: Path) -> None:
    page = np.asarray(Image.open(words), np.float32)
    drawn = {}
    for word, (x, y) in WORDS.items():
        response = post(address, words, headers=PNG, query=word)
        assert response.headers["content-type"] == "image/png"
        picture = Image.open(io.BytesIO(response.content))
        assert picture.size == SIZE
        drawn[word] = np.abs(np.asarray(picture, np.float32) - page).sum(axis=2)
        row, column = np.unravel_index(drawn[word].argmax(), drawn[word].shape)
        assert x - 0.03 < column / SIZE[0] < x + 0.4
        assert y - 0.03 < row / SIZE[1] < y + 0.08
    one = post(address, words, headers=PNG, query="invoice telescope", token=0)
    every = post(address, words, headers=PNG, query="invoice telescope")
    assert one.content != every.content


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"query": "x", "number": 9}, "page 'simh-faq.pdf': page 9 is wanted, expected 1 to 3"),
        ({"query": " "}, "query 'query': text is empty, expected at least one word"),
    ],
)
def test_what_is_wrong_with_a_pdf_is_said(
    fields: dict[str, Any], message: str, address: str
) -> None:
    assert problem(post(address, PDF, **fields)) == (400, message)


def test_bad_requests_are_refused(address: str, words: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.4 nothing")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    image = data_uri(words)
    cases = [
        (post(address, words, PDF, query="x"), 400, "the request has 2 pages, expected 1"),
        (as_json(address, query="x"), 400, "the request has 0 pages, expected 1"),
        (post(address, broken, query="x", number=2), 400, "the PDF is broken"),
        (post(address, words, query="x", number=2), 400, "page 2 of an image is wanted"),
        (post(address, tmp_path / "broken.png", query="x"), 400, "image is of no known format"),
        (post(address, words), 422, "query: Field required"),
        (as_json(address, query="x", image=image, number=0), 422, "number: "),
        (as_json(address, query="x", image=image, colour="red"), 422, "colour: "),
        (as_json(address, PNG, query="x", image=image, token=99), 400, "token is 99, expected 0"),
        (as_json(address, PNG, query="x", image="https://a.example/b.png"), 400, "brings along"),
        (as_json(address, PNG, query="x", image="data:image/png;base64,%"), 400, "bad base64"),
    ]
    for response, status, text in cases:
        found, message = problem(response)
        assert (found, text in message) == (status, True), message
