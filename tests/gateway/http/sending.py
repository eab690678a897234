"""Pages to send, and what an error has to look like."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx2 as httpx
import numpy as np
from PIL import Image

from tests.executors.posting import LEAK, png

KINDS = {
    400: {"InvalidInputError", "InvalidPageError", "InvalidQueryError", "EmbeddingShapeError"},
    413: {"TooLargeError"},
    429: {"OverloadedError"},
    500: {"InternalError"},
    503: {"ServiceUnavailableError"},
}


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def page(seed: int = 0, size: tuple[int, int] = (90, 120)) -> bytes:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return png(Image.fromarray(pixels))


def pdf(pages: int = 2) -> bytes:
    """A PDF of different pages, without a library to write it."""
    images = [Image.effect_noise((120, 160), 40 + 30 * number) for number in range(pages)]
    with io.BytesIO() as file:
        images[0].save(file, "PDF", save_all=True, append_images=images[1:])
        return file.getvalue()


def tiff(pages: int = 2) -> bytes:
    """A TIFF of different pages."""
    images = [Image.effect_noise((80, 60), 40 + 30 * number) for number in range(pages)]
    with io.BytesIO() as file:
        images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
        return file.getvalue()


def error(response: httpx.Response, status: int) -> tuple[str, str | None]:
    """Message and item of a refusal; nothing of the server may be in it."""
    assert response.status_code == status, response.text[:300]
    assert response.headers["content-type"] == "application/json"
    assert not LEAK.search(response.text), response.text
    body: dict[str, Any] = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message", "item"}
    assert body["error"]["type"] in KINDS.get(status, {"InvalidInputError"})
    return body["error"]["message"], body["error"]["item"]
