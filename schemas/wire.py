"""Documents as the bytes of docarray's protobuf messages, each byte copied once.

docarray makes a message of each part and copies it into the next larger one, and protobuf's encoder
grows its buffer while it writes: of eight megabytes of embeddings each byte moved a dozen times,
which took longer than scoring them. Here a message is the list of its parts, joined at the end.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from docarray import BaseDoc, DocList
from docarray.base_doc.mixins.io import _type_to_protobuf
from docarray.proto import DocListProto, DocProto, NdArrayProto, NodeProto
from docarray.typing import ID, NdArray

_LENGTH_DELIMITED = 2
_MAP_KEY, _MAP_VALUE = 1, 2
"""An entry of a protobuf map is a message of these two."""
_FIXED_SIZES = {1: 8, 5: 4}
_SMALL = tuple(bytes((number,)) for number in range(0x80))
"""Most of what is written: numbers of one byte."""


def number_of(field: str, message: Any) -> int:
    """The number of a field of a message's descriptor."""
    return int(message.fields_by_name[field].number)


_DATA = number_of("data", DocProto.DESCRIPTOR)
_DOCS = number_of("docs", DocListProto.DESCRIPTOR)
_DOC, _DOC_ARRAY, _NDARRAY, _BLOB, _TEXT, _TYPE = (
    number_of(name, NodeProto.DESCRIPTOR)
    for name in ("doc", "doc_array", "ndarray", "blob", "text", "type")
)
_DENSE = number_of("dense", NdArrayProto.DESCRIPTOR)
_DENSE_ARRAY = NdArrayProto.DESCRIPTOR.fields_by_name["dense"].message_type
_BUFFER, _SHAPE, _DTYPE = (number_of(name, _DENSE_ARRAY) for name in ("buffer", "shape", "dtype"))


class Message:
    r"""A protobuf message as the list of its parts.

    Attributes:
        parts: Bytes, in order; large ones are views of what they were made from.
        size: Bytes of all of them.

    >>> inner = Message()
    >>> inner.add(1, b"abc")
    >>> outer = Message()
    >>> outer.add(4, inner)
    >>> bytes(outer)
    b'"\x05\n\x03abc'
    """

    __slots__ = ("parts", "size")

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self.size = 0

    def append(self, part: bytes | memoryview) -> None:
        """Add fields that are written already."""
        self.parts.append(part)
        self.size += len(part)

    def add(self, field: int, value: "Message | bytes | memoryview") -> None:
        """Add a field: a message, or bytes.

        Args:
            field: Its number.
            value: Bytes count as a message's, too.
        """
        if isinstance(value, Message):
            self.append(_head(field, value.size))
            self.parts += value.parts
            self.size += value.size
        else:
            self.append(_head(field, len(value)))
            self.append(value)

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


def documents(docs: Iterable[BaseDoc]) -> Message:
    """Write documents as docarray's `DocListProto`."""
    message = Message()
    for doc in docs:
        message.add(_DOCS, document(doc))
    return message


def document(doc: BaseDoc) -> Message:
    """Write a document as docarray's `DocProto`."""
    message = Message()
    for field, value in doc:
        entry = Message()
        entry.add(_MAP_KEY, field.encode())
        entry.add(_MAP_VALUE, _node(value))
        message.add(_DATA, entry)
    return message


def _node(value: Any) -> Message:
    node = Message()
    if isinstance(value, np.ndarray):
        array = Message()
        array.add(_DENSE, _dense(value))
        node.add(_NDARRAY, array)
        node.add(_TYPE, NdArray._proto_type_name.encode())
    elif isinstance(value, DocList):
        node.add(_DOC_ARRAY, documents(value))
    elif isinstance(value, BaseDoc):
        node.add(_DOC, document(value))
    elif isinstance(value, bytes):
        node.add(_BLOB, value)
    elif type(value) in (str, ID):
        node.add(_TEXT, value.encode())
        if type(value) is ID:
            node.add(_TYPE, ID._proto_type_name.encode())
    elif value is not None:
        node.append(_type_to_protobuf(value).SerializeToString())
    return node


def _dense(array: np.ndarray) -> Message:
    dense = Message()
    if array.size:  # as protobuf does: what is empty is left out
        # Not of the array itself: memoryview refuses strides, byte orders and dtypes of others.
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        dense.add(_BUFFER, flat.data)
    if array.ndim:
        dense.add(_SHAPE, b"".join(_varint(length) for length in array.shape))
    dense.add(_DTYPE, array.dtype.str.encode())
    return dense


def fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    r"""Go through the fields of a protobuf message, without copying any.

    Args:
        message: Its bytes.

    Yields:
        A field's number; what it holds, nothing where that is a number; and all of its bytes.

    Raises:
        ValueError: These are no fields.

    >>> [(number, bytes(held)) for number, held, _ in fields(memoryview(b'"\x05\n\x03abc'))]
    [(4, b'\n\x03abc')]
    """
    start, end = 0, len(message)
    while start < end:
        tag, place = _read_varint(message, start)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            length, place = _read_varint(message, place)
            held = message[place : place + length]
            place += length
        elif kind == 0:
            _, place = _read_varint(message, place)
            held = message[:0]
        elif kind in _FIXED_SIZES:
            place += _FIXED_SIZES[kind]
            held = message[:0]
        else:
            raise ValueError(f"field of wire type {kind}, expected one of 0, 1, 2, 5")
        if place > end or tag < 8:
            raise ValueError("a field ends behind its message, or has no number")
        yield tag >> 3, held, message[start:place]
        start = place


def count(listed: memoryview, inside: str) -> int:
    """Count the documents of a `DocListProto`, or those that they hold, without reading any.

    Args:
        listed: The message's bytes.
        inside: Field of documents whose own documents are counted instead, where one has it.

    Raises:
        ValueError: These are no documents.
    """
    own, found, held = 0, False, 0
    for number, doc, _ in fields(listed):
        if number != _DOCS:
            continue
        own += 1
        for node in _nodes(doc, inside):
            found = True
            for kind, docs, _ in fields(node):
                if kind == _DOC_ARRAY:
                    held += sum(number == _DOCS for number, _, _ in fields(docs))
    return held if found else own


def _nodes(doc: memoryview, name: str) -> Iterator[memoryview]:
    """The node of a document's field, in as many entries as the message may have of it."""
    wanted = name.encode()
    key = _head(_MAP_KEY, len(wanted)) + wanted
    for number, entry, _ in fields(doc):
        # Everybody writes the key first; who does not is looked at more closely.
        if number == _DATA and (entry[: len(key)] == key or entry[:1] != key[:1]):
            parts = {number: held for number, held, _ in fields(entry)}
            if parts.get(_MAP_KEY, b"") == wanted and _MAP_VALUE in parts:
                yield parts[_MAP_VALUE]


def _head(field: int, length: int) -> bytes:
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    if value < len(_SMALL):
        return _SMALL[value]
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _read_varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(message) or shift > 63:
            raise ValueError("a number ends behind its message")
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
