"""BentoColPali's four routes, and what they can do beyond."""

from __future__ import annotations

import base64
import json

import httpx2 as httpx
import numpy as np
import pytest
from docarray import DocList
from jina import Client

from colpali_serve.schemas import EMBED_IMAGES, PageDoc
from tests.gateway.http.conftest import Service
from tests.gateway.http.sending import error, page, pdf, tiff, uri

PAGES = [page(1), page(2, (60, 200))]
ITEMS = [{"url": uri(each)} for each in PAGES]


def unpacked(entry: dict) -> np.ndarray:
    array = np.frombuffer(
        base64.b64decode(entry["embedding"]), f"<{np.dtype(entry['dtype']).str[1:]}"
    )
    return array.reshape(entry["shape"])


@pytest.fixture(scope="module")
def embedded(service: Service) -> list[np.ndarray]:
    """The pages, embedded through the other door."""
    docs = DocList[PageDoc](PageDoc(id=str(i), image=each) for i, each in enumerate(PAGES))
    found = Client(port=service.port).post(EMBED_IMAGES, docs, return_type=DocList[PageDoc])
    return [np.asarray(doc.embedding) for doc in found]


def test_pages_as_nested_lists(http: httpx.Client, embedded: list[np.ndarray]) -> None:
    answer = http.post("/embed_images", json={"items": ITEMS}).raise_for_status().json()
    for found, expected in zip(answer, embedded, strict=True):
        np.testing.assert_allclose(np.array(found), expected, atol=1e-3)


def test_both_doors_give_the_same_bytes(http: httpx.Client, embedded: list[np.ndarray]) -> None:
    body = {"items": ITEMS, "encoding_format": "base64"}
    answer = http.post("/embed_images", json=body).raise_for_status().json()
    for entry, expected in zip(answer, embedded, strict=True):
        assert entry["dtype"] == "float16"
        np.testing.assert_allclose(unpacked(entry), expected, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_dtype_is_the_caller_s_choice(http: httpx.Client, dtype: str) -> None:
    body = {"items": ["a", "bc"], "encoding_format": "base64", "embedding_dtype": dtype}
    for entry in http.post("/embed_queries", json=body).raise_for_status().json():
        assert entry["dtype"] == dtype
        norms = np.linalg.norm(unpacked(entry).astype(np.float64), axis=1)
        np.testing.assert_allclose(norms, 1, atol=1e-3 if dtype == "float16" else 1e-5)


def test_queries_as_nested_lists(http: httpx.Client) -> None:
    answer = http.post("/embed_queries", json={"items": ["short", "a longer one"]}).json()
    assert [np.array(query).ndim for query in answer] == [2, 2]
    assert len(answer[0]) < len(answer[1])


def test_scores_are_queries_by_pages_on_every_way(http: httpx.Client) -> None:
    texts = ["red", "a table", "blue"]
    scores = http.post("/score", json={"images": ITEMS, "queries": texts}).json()
    assert np.array(scores).shape == (3, 2)
    for options in ({}, {"encoding_format": "base64"}, {"embedding_dtype": "float32"}):
        pages = http.post("/embed_images", json={"items": ITEMS, **options}).json()
        queries = http.post("/embed_queries", json={"items": texts, **options}).json()
        body = {"image_embeddings": pages, "query_embeddings": queries}
        again = http.post("/score_embeddings", json=body).raise_for_status().json()
        np.testing.assert_allclose(again, scores, atol=0.05)


def test_an_image_may_be_written_in_many_ways(http: httpx.Client) -> None:
    url = ITEMS[0]["url"]
    bare = url.partition(",")[2]
    ways = [url, {"url": url}, {"image": url}, {"image": bare}, {"image_url": {"url": url}}]
    ways += [{"type": "image_url", "image_url": {"url": url}}, {"url": url, "detail": "high"}]
    body = {"items": ways, "encoding_format": "base64"}
    answer = http.post("/embed_images", json=body).raise_for_status().json()
    arrays = [unpacked(entry).astype(np.float32) for entry in answer]
    for array in arrays:
        np.testing.assert_allclose(array, arrays[0], atol=2e-3)


def test_the_type_that_a_data_uri_claims_does_not_matter(http: httpx.Client) -> None:
    items = [{"url": uri(PAGES[0], "image/jpeg")}, {"url": uri(PAGES[0], "text/html")}]
    body = {"items": items, "encoding_format": "base64"}
    answer = http.post("/embed_images", json=body).raise_for_status().json()
    assert answer[0]["shape"] == answer[1]["shape"]


def test_files_come_back_with_their_names_and_page_numbers(http: httpx.Client) -> None:
    files = [
        ("files", ("scans/a.png", PAGES[0], "image/png")),
        ("files", ("b.pdf", pdf(2), "application/pdf")),
        ("files", ("C:\\tmp\\c.bin", PAGES[1], "application/octet-stream")),
        ("files", ("fax.tif", tiff(2), "image/tiff")),
        ("files", ("d.tif", tiff(1), "image/tiff")),
    ]
    fields = {"encoding_format": "base64", "dpi": "72"}
    answer = http.post("/embed_images", files=files, data=fields).raise_for_status().json()
    places = [(entry["index"], entry["id"], entry["file"], entry["page"]) for entry in answer]
    assert places == [
        (0, "a.png", "a.png", 1),
        (1, "b.pdf#1", "b.pdf", 1),
        (2, "b.pdf#2", "b.pdf", 2),
        (3, "c.bin", "c.bin", 1),
        (4, "fax.tif#1", "fax.tif", 1),
        (5, "fax.tif#2", "fax.tif", 2),
        (6, "d.tif", "d.tif", 1),
    ]
    assert all(unpacked(entry).shape[0] > 10 for entry in answer)
    assert all(len(entry["grid"]) == 2 for entry in answer)


def test_a_line_a_page_with_errors_in_their_places(http: httpx.Client) -> None:
    files = [
        ("files", ("a.png", PAGES[0], "image/png")),
        ("files", ("broken.pdf", b"%PDF-1.7 nothing", "application/pdf")),
        ("files", ("b.pdf", pdf(2), "application/pdf")),
        ("files", ("c.png", b"no image", "image/png")),
    ]
    fields = {"encoding_format": "base64", "thumbnails": "true"}
    accept = {"accept": "application/x-ndjson"}
    with http.stream("POST", "/embed_images", files=files, data=fields, headers=accept) as got:
        assert got.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in got.iter_lines()]
    assert [line["index"] for line in lines] == [0, 1, 2, 3, 4]
    assert ["error" in line for line in lines] == [False, True, False, False, True]
    assert lines[1]["error"]["type"] == lines[4]["error"]["type"] == "InvalidPageError"
    assert (lines[1]["file"], lines[1]["page"]) == ("broken.pdf", 1)
    for line in (lines[0], lines[2], lines[3]):
        assert line["thumbnail"].startswith("data:image/jpeg;base64,")
        assert unpacked(line).ndim == 2
    assert lines[2]["thumbnail"] != lines[3]["thumbnail"]


def test_a_stream_of_json_items(http: httpx.Client) -> None:
    body = {"items": [*ITEMS, {"url": "data:image/png;base64,AAAA"}], "thumbnails": True}
    accept = {"accept": "application/x-ndjson"}
    with http.stream("POST", "/embed_images", json=body, headers=accept) as got:
        lines = [json.loads(line) for line in got.iter_lines()]
    assert [line["id"] for line in lines] == ["0", "1", "2"]
    assert lines[2]["error"]["item"] == "2"
    assert "thumbnail" in lines[0] and "thumbnail" not in lines[2]


def test_scores_of_files(http: httpx.Client) -> None:
    files = [("files", ("b.pdf", pdf(2), "application/pdf")), ("files", ("a.png", PAGES[0], ""))]
    answer = http.post("/score", files=files, data={"queries": ["red", "blue"]}).json()
    assert np.array(answer["scores"]).shape == (2, 3)
    assert answer["pages"] == [
        {"file": "b.pdf", "page": 1},
        {"file": "b.pdf", "page": 2},
        {"file": "a.png", "page": 1},
    ]


def test_a_bad_file_is_named(http: httpx.Client) -> None:
    files = [("files", ("a.png", PAGES[0], "")), ("files", ("b.png", b"nothing", ""))]
    message, item = error(http.post("/embed_images", files=files), 400)
    assert message.startswith("page 'b.png': image is of no known format")
    assert item == "b.png"


def test_pooling_keeps_fewer_vectors(http: httpx.Client) -> None:
    body = {"items": ITEMS[:1], "encoding_format": "base64"}
    [whole] = http.post("/embed_images", json=body).json()
    [pooled] = http.post("/embed_images", json={**body, "pool_factor": 3}).json()
    assert pooled["shape"][0] < whole["shape"][0] / 2
