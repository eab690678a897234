"""/heatmap through the Flow that ships, as a plain Jina client uses it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from docarray import DocList
from jina import Client
from PIL import Image

from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    HEATMAP,
    HeatmapDoc,
    PageDoc,
    QueryDoc,
)
from tests.executors.posting import pages, png, post, queries, refusal

TEXT = "total revenue"


def document(image: Image.Image, **query: Any) -> HeatmapDoc:
    asked = QueryDoc(id="q", **(query or {"text": TEXT}))
    return HeatmapDoc(page=PageDoc(id="p", image=png(image), tags={"n": 1}), query=asked)


def heatmaps(client: Client, *docs: HeatmapDoc, **parameters: Any) -> DocList[HeatmapDoc]:
    return post(client, HEATMAP, DocList[HeatmapDoc](docs), **parameters)


def test_each_token_gets_a_map_of_the_grid(client: Client, images: list[Image.Image]) -> None:
    found = heatmaps(client, *(document(image) for image in images))
    for image, doc in zip(images, found, strict=True):
        columns, rows = doc.grid
        assert (columns < rows) == (image.width < image.height) or image.width == image.height
        assert "".join(doc.tokens) == TEXT.replace(" ", "")
        assert doc.kinds == ["text"] * len(doc.tokens)
        assert doc.maps.shape == (len(doc.tokens), rows, columns)
        assert doc.maps.dtype == np.float32
        assert np.abs(doc.maps).max() <= 1 + 1e-5
        assert (doc.page.id, doc.page.tags, doc.page.image) == ("p", {"n": 1}, None)
        assert doc.page.embedding is None
        assert doc.query.text == TEXT


def test_best_patches_are_what_the_score_is_made_of(
    client: Client, images: list[Image.Image]
) -> None:
    (doc,) = heatmaps(client, document(images[0]), all_tokens=True)
    (page,) = post(client, EMBED_IMAGES, pages(images[:1]), embedding_dtype="float32")
    (query,) = post(client, EMBED_QUERIES, queries(TEXT), embedding_dtype="float32")
    assert len(doc.tokens) == len(doc.kinds) == len(query.embedding)
    assert set(doc.kinds) == {"text", "special"}
    best = (query.embedding @ page.embedding.T).max(axis=1)
    assert (doc.maps.max(axis=(1, 2)) <= best + 1e-4).all()


def test_what_a_document_brings_along_does_not_stay(
    client: Client, images: list[Image.Image]
) -> None:
    sent = document(images[0])
    sent.tokens, sent.kinds, sent.error, sent.grid = ["x"], ["y"], "z", [1, 1]
    sent.page.embedding = np.ones((2, 3), np.float32)
    (doc,) = heatmaps(client, sent)
    assert (doc.tokens[0], doc.kinds[0], doc.error) != ("x", "y", "z")
    assert doc.page.embedding is None


@pytest.mark.parametrize("query", [{}, {"image": b"x"}, {"text": ""}, {"text": "a", "image": b"x"}])
def test_a_query_that_is_no_text_is_refused(
    query: dict[str, Any], client: Client, images: list[Image.Image]
) -> None:
    bad = document(images[0])
    bad.query = QueryDoc(id="q", **query)
    name, message = refusal(client, HEATMAP, DocList[HeatmapDoc]([bad]))
    assert name == "InvalidQueryError"
    assert message.startswith("query 'q': ")
    good, kept = heatmaps(client, document(images[0]), bad, on_error="keep")
    assert good.error is None
    assert kept.error == f"{name}: {message}"
    assert kept.maps is None


def test_a_bad_page_is_refused_or_kept(client: Client, images: list[Image.Image]) -> None:
    bad = document(images[0])
    bad.page.image = b"no image"
    name, message = refusal(client, HEATMAP, DocList[HeatmapDoc]([bad]))
    assert name == "InvalidPageError"
    kept, good = heatmaps(client, bad, document(images[0]), on_error="keep")
    assert kept.error == f"{name}: {message}"
    assert good.maps is not None


def test_bad_requests_are_refused(client: Client, images: list[Image.Image]) -> None:
    docs = DocList[HeatmapDoc]([document(images[0])])
    name, message = refusal(client, HEATMAP, docs, all_tokens="yes")
    assert (name, message.startswith("parameter 'all_tokens'")) == ("InvalidInputError", True)
    name, message = refusal(client, HEATMAP, DocList[HeatmapDoc]([docs[0]] * 41))
    assert message == "request has 41 heatmaps, expected 1 to 40"
