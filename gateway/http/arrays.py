"""Embeddings to JSON, as lists or as base64 of little-endian numbers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from colpali_serve.gateway.http.bodies import EncodingFormat
from colpali_serve.schemas import Embedding


def as_lists(array: Any) -> orjson.Fragment:
    """Write an array (rows, columns) as nested lists of numbers; NaN becomes null."""
    plain = np.ascontiguousarray(array)
    return orjson.Fragment(orjson.dumps(plain, option=orjson.OPT_SERIALIZE_NUMPY))


def as_base64(array: Embedding, dtype: str) -> orjson.Fragment:
    """Write an array as a string: its rows one after the other, little-endian, in base64."""
    raw = np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<"))
    return orjson.Fragment(b'"%s"' % base64.b64encode(raw.data))


def described(array: Embedding, form: EncodingFormat, dtype: str) -> dict[str, Any]:
    """Return the fields ``embedding``, ``shape`` and ``dtype`` of an answer."""
    value = as_base64(array, dtype) if form == "base64" else as_lists(array.astype(dtype))
    return {"embedding": value, "shape": list(array.shape), "dtype": dtype}


async def dump(parts: Iterable[Any]) -> bytes:
    """Write a list, giving other requests their turn after each of its parts."""
    written = []
    for part in parts:
        written.append(orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY))
        await asyncio.sleep(0)
    return b"[%s]" % b",".join(written)
