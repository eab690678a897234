"""Documents survive the wire and refuse what they do not know."""

from __future__ import annotations

import numpy as np
import pytest
from docarray import BaseDoc, DocList
from pydantic import ValidationError

from colpali_serve.schemas import (
    HeatmapDoc,
    InvalidInputError,
    PageDoc,
    QueryDoc,
    ScoreDoc,
    StoreDoc,
)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8])
def test_ragged_embeddings_survive_protobuf(dtype: type[np.generic]) -> None:
    pages = DocList[PageDoc](
        PageDoc(
            id=str(n),
            embedding=np.ones((n, 4), dtype),
            grid=[1, n],
            box=[0.1, 0, 1, 1 / n],
            tags={"n": n},
        )
        for n in (1, 5)
    )
    back = DocList[PageDoc].from_protobuf(pages.to_protobuf())
    for page, other in zip(pages, back, strict=True):
        assert other.embedding.dtype == dtype
        assert other.embedding.shape == page.embedding.shape
        assert (other.grid, other.box, other.tags) == (page.grid, page.box, page.tags)


def test_score_documents_carry_the_others() -> None:
    doc = ScoreDoc(
        queries=DocList[QueryDoc]([QueryDoc(id="q", text="red")]),
        pages=DocList[PageDoc]([PageDoc(id="p", image=b"\x89")]),
    )
    back = ScoreDoc.from_protobuf(doc.to_protobuf())
    assert back.queries[0].text == "red"
    assert back.pages[0].image == b"\x89"
    assert back.scores is None


@pytest.mark.parametrize(
    "doc",
    [
        PageDoc(id="a", image=b"x", embedding=np.ones((2, 3), np.int8), scale=0.5, grid=[1, 2],
                tags={"n": 1, "more": {"list": [1.5, None, "s"]}}),
        QueryDoc(id="q", text="\u00e4"),
        ScoreDoc(id="s", queries=DocList[QueryDoc]([QueryDoc(embedding=np.zeros((2, 3)))]),
                 resident=[]),
        ScoreDoc(id="s", pages=DocList[PageDoc]([PageDoc(), PageDoc(image=b"")]),
                 scores=np.ones((1, 2)), ranking=np.ones((1, 2), np.int64), resident=["a"]),
        StoreDoc(id="t", ids=["a", "b"], size_mb=2.0),
    ],
)  # fmt: skip
def test_messages_are_those_of_docarray(doc: BaseDoc) -> None:
    expected = BaseDoc.to_protobuf(doc)
    assert doc.to_protobuf() == expected
    back = type(doc).from_protobuf(doc.to_protobuf())
    assert back.to_protobuf() == expected


def test_defaults_are_not_shared() -> None:
    one, two = ScoreDoc(), ScoreDoc()
    one.pages.append(PageDoc())
    assert len(two.pages) == 0


def test_misspelt_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="imgae"):
        PageDoc(imgae=b"x")


def test_fields_of_the_wrong_kind_are_refused_in_words() -> None:
    message = PageDoc(id="p", tags={"a": 1}).to_protobuf()
    message.data["image"].CopyFrom(message.data["tags"])
    with pytest.raises(InvalidInputError, match=r"PageDoc\.image"):
        PageDoc.from_protobuf(message)


def test_heatmap_documents_carry_a_page_and_a_query() -> None:
    doc = HeatmapDoc(page=PageDoc(id="p", image=b"\x89"), query=QueryDoc(id="q", text="red"))
    doc.tokens, doc.maps = ["red"], np.ones((1, 2, 3), np.float32)
    back = HeatmapDoc.from_protobuf(doc.to_protobuf())
    assert (back.page.image, back.query.text, back.tokens) == (b"\x89", "red", ["red"])
    assert back.maps.shape == (1, 2, 3)
    message = doc.to_protobuf()
    del message.data["query"]
    with pytest.raises(InvalidInputError, match=r"HeatmapDoc\.query: Field required"):
        HeatmapDoc.from_protobuf(message)
