"""The vocabularies of other services, and the real `openai` package."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2 as httpx
import numpy as np
import openai
import pytest

from tests.gateway.http.conftest import Service
from tests.gateway.http.sending import error, page, pdf, uri

PAGE, OTHER = uri(page(1)), uri(page(2, (60, 200)))


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_openai_package_gets_the_right_array(client: openai.OpenAI, http: httpx.Client) -> None:
    # It asks for base64 and decodes float32.
    answer = client.embeddings.create(model="whatever", input=["a table", PAGE])
    body = {"items": ["a table"], "embedding_dtype": "float32"}
    [query] = http.post("/embed_queries", json=body).json()
    [image] = http.post(
        "/embed_images", json={"items": [PAGE], "embedding_dtype": "float32"}
    ).json()
    assert answer.model.startswith("colqwen2")
    for entry, expected in zip(answer.data, (query, image), strict=True):
        assert entry.dtype == "float32"
        found = np.array(entry.embedding, np.float32).reshape(entry.shape)
        np.testing.assert_allclose(found, np.array(expected), atol=1e-3)
    assert [entry.index for entry in answer.data] == [0, 1]
    assert answer.usage.prompt_tokens == len(query) + len(image) == answer.usage.total_tokens


def test_the_openai_package_s_lists(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="m", input="a table", encoding_format="float")
    assert np.array(answer.data[0].embedding).shape == tuple(answer.data[0].shape)


def test_the_openai_package_s_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="query '0': text is empty"):
        client.embeddings.create(model="m", input="")
    with pytest.raises(openai.BadRequestError, match="dimensions is 64, expected none"):
        client.embeddings.create(model="m", input="a", dimensions=64)


def test_jina_s_inputs_and_tasks(http: httpx.Client) -> None:
    body = {
        "model": "jina-embeddings-v4",
        "input": [{"image": PAGE}, {"text": "a table"}, {"image": PAGE.partition(",")[2]}],
        "return_multivector": True,
    }
    entries = http.post("/v1/embeddings", json=body).raise_for_status().json()["data"]
    assert [entry["index"] for entry in entries] == [0, 1, 2]
    assert np.array(entries[0]["embedding"]).shape == tuple(entries[0]["shape"])
    np.testing.assert_allclose(entries[0]["embedding"], entries[2]["embedding"], atol=2e-3)
    query = http.post(
        "/v1/embeddings", json={"input": {"image": PAGE}, "task": "retrieval.query"}
    ).raise_for_status()
    assert query.json()["data"][0]["shape"][1] == entries[0]["shape"][1]
    passage = {"input": [{"image": PAGE}, "a text"], "task": "retrieval.passage"}
    message, item = error(http.post("/v1/embeddings", json=passage), 400)
    assert message == "input 1 is a text, expected an image: pages are images here"
    assert item == "1"


def test_half_precision_for_those_who_ask(http: httpx.Client) -> None:
    body = {"input": "a table", "encoding_format": "base64"}
    [single] = http.post("/v1/embeddings", json=body).json()["data"]
    for name in ("dtype", "embedding_dtype"):
        [half] = http.post("/v1/embeddings", json={**body, name: "float16"}).json()["data"]
        assert (single["dtype"], half["dtype"]) == ("float32", "float16")
        assert len(half["embedding"]) * 2 == pytest.approx(len(single["embedding"]), abs=8)


def test_embeddings_of_files(http: httpx.Client) -> None:
    files = [("files", ("b.pdf", pdf(2), "application/pdf"))]
    fields = {"model": "m", "input": "a table", "encoding_format": "base64"}
    answer = http.post("/v1/embeddings", files=files, data=fields).raise_for_status().json()
    assert [entry.get("page") for entry in answer["data"]] == [None, 1, 2]
    assert answer["data"][1]["file"] == "b.pdf"


@pytest.mark.parametrize("documents", [[PAGE, OTHER], [{"image": PAGE}, {"url": OTHER}]])
def test_rerank(http: httpx.Client, documents: list[object]) -> None:
    scores = http.post("/score", json={"images": [PAGE, OTHER], "queries": ["a table"]}).json()[0]
    body = {"model": "m", "query": "a table", "documents": documents}
    results = http.post("/v1/rerank", json=body).raise_for_status().json()["results"]
    best = int(np.argmax(scores))
    assert [result["index"] for result in results] == [best, 1 - best]
    for result in results:
        assert result["relevance_score"] == pytest.approx(scores[result["index"]], abs=1e-2)
        assert "document" not in result
    more = {**body, "top_n": 1, "return_documents": True}
    [first] = http.post("/v1/rerank", json=more).json()["results"]
    assert first["index"] == best
    assert first["document"] == {"url": [PAGE, OTHER][best]}


def test_rerank_by_an_image_finds_it_again(http: httpx.Client) -> None:
    body = {"query": {"image": OTHER}, "documents": [PAGE, OTHER], "top_n": 1}
    [first] = http.post("/v1/rerank", json=body).raise_for_status().json()["results"]
    assert first["index"] in (0, 1)


def test_rerank_of_files(http: httpx.Client) -> None:
    files = [("files", ("b.pdf", pdf(3), "application/pdf"))]
    answer = http.post("/v1/rerank", files=files, data={"query": "red", "top_n": "2"}).json()
    assert len(answer["results"]) == 2
    assert all(r["document"]["page"] == r["index"] + 1 for r in answer["results"])


@pytest.mark.parametrize("names", [("text_1", "text_2"), ("queries", "documents")])
def test_scores_of_pairs(http: httpx.Client, names: tuple[str, str]) -> None:
    one, two = names
    texts = ["a table", "red"]
    matrix = http.post("/score", json={"images": [PAGE, OTHER], "queries": texts}).json()
    answer = http.post("/v1/score", json={one: texts[0], two: [PAGE, OTHER]}).json()
    found = [entry["score"] for entry in answer["data"]]
    np.testing.assert_allclose(found, matrix[0], atol=1e-2)
    answer = http.post("/v1/score", json={one: texts, two: [PAGE, OTHER]}).json()
    found = [entry["score"] for entry in answer["data"]]
    np.testing.assert_allclose(found, np.diag(matrix), atol=1e-2)
    wrong = http.post("/v1/score", json={one: [*texts, "x"], two: [PAGE, OTHER]})
    assert error(wrong, 400)[0].startswith("there are 3 queries for 2 pages")
