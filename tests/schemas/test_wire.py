"""Documents are written as docarray writes them, and counted without being read."""

from __future__ import annotations

import numpy as np
import pytest
from docarray import BaseDoc, DocList
from docarray.proto import DocListProto
from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.schemas import HeatmapDoc, PageDoc, QueryDoc, ScoreDoc, wire

DTYPES = ("<f2", "<f4", ">f4", "<f8", "|i1", "|u1", "<i8", "|b1")


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))
    array = (np.arange(np.prod(shape)) % 7).reshape(shape).astype(draw(st.sampled_from(DTYPES)))
    return array.T if draw(st.booleans()) else array


pages = st.builds(
    PageDoc,
    id=st.text(max_size=300),
    image=st.none() | st.binary(max_size=300),
    url=st.none() | st.text(max_size=20),
    scale=st.none() | st.floats(allow_nan=False, width=32),
    grid=st.none() | st.lists(st.integers(0, 2**31 - 1), max_size=3),
    box=st.none() | st.lists(st.floats(0, 1), max_size=4),
    tags=st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.text(max_size=5)),
)
queries = st.builds(QueryDoc, text=st.none() | st.text(max_size=20))


def read(docs: list[BaseDoc]) -> DocListProto:
    return DocListProto.FromString(bytes(wire.documents(docs)))


@given(st.lists(pages, max_size=4), st.lists(queries, max_size=3))
def test_documents_are_written_as_docarray_writes_them(
    some: list[PageDoc], asked: list[QueryDoc]
) -> None:
    score = ScoreDoc(queries=DocList[QueryDoc](asked), pages=DocList[PageDoc](some))
    docs: list[BaseDoc] = [*some, score]
    if some and asked:
        docs.append(HeatmapDoc(page=some[0], query=asked[0]))
    expected = DocListProto(docs=[BaseDoc.to_protobuf(doc) for doc in docs])
    assert read(docs) == expected


@given(st.lists(arrays(), min_size=1, max_size=3))
def test_arrays_are_written_as_docarray_writes_them(some: list[np.ndarray]) -> None:
    docs = [ScoreDoc(scores=array) for array in some]
    expected = DocListProto(docs=[BaseDoc.to_protobuf(doc) for doc in docs])
    assert read([*docs]) == expected


@pytest.mark.parametrize("shape", [(0,), (0, 128), (3, 0)])
def test_empty_arrays_keep_their_shape(shape: tuple[int, ...]) -> None:
    doc = ScoreDoc(scores=np.zeros(shape, np.float16))
    assert read([doc]) == DocListProto(docs=[BaseDoc.to_protobuf(doc)])


def test_large_arrays_are_not_copied_before_they_are_joined() -> None:
    array = np.ones((1000, 128), np.float16)
    parts = wire.documents([PageDoc(embedding=array)]).parts
    views = [np.frombuffer(part, np.uint8) for part in parts if isinstance(part, memoryview)]
    assert any(np.shares_memory(view, array) for view in views)


@given(st.lists(pages, max_size=5))
def test_documents_are_counted(some: list[PageDoc]) -> None:
    assert wire.count(memoryview(bytes(wire.documents(some))), "pages") == len(some)


@given(st.lists(st.lists(pages, max_size=3), min_size=1, max_size=3))
def test_documents_inside_documents_are_counted(groups: list[list[PageDoc]]) -> None:
    docs = [
        ScoreDoc(queries=DocList[QueryDoc]([QueryDoc()] * 7), pages=DocList[PageDoc](group))
        for group in groups
    ]
    written = memoryview(bytes(wire.documents(docs)))
    assert wire.count(written, "pages") == sum(map(len, groups))
    assert wire.count(written, "nowhere") == len(groups)


def test_the_order_of_key_and_value_does_not_matter() -> None:
    listed, node, entry, doc = wire.Message(), wire.Message(), wire.Message(), wire.Message()
    node.add(8, wire.documents([PageDoc(), PageDoc()]))
    entry.add(2, node)
    entry.add(1, b"pages")
    doc.add(1, entry)
    listed.add(1, doc)
    assert wire.count(memoryview(bytes(listed)), "pages") == 2
    assert wire.count(memoryview(bytes(listed)), "page") == 1


@given(st.binary(max_size=80))
def test_what_is_no_message_is_refused_and_never_crashes(junk: bytes) -> None:
    try:
        found = wire.count(memoryview(junk), "pages")
    except ValueError:
        return
    assert found >= 0


@given(pages, st.data())
def test_a_message_that_is_cut_off_is_refused_or_shorter(
    page: PageDoc, data: st.DataObject
) -> None:
    written = bytes(wire.documents([page]))
    cut = data.draw(st.integers(1, len(written) - 1))
    with pytest.raises(ValueError, match="ends behind its message"):
        wire.count(memoryview(written[:cut]), "pages")
