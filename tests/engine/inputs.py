"""What tests put in."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from colpali_serve.engine.items import ImageInput, TextInput


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def page_inputs(images: Sequence[Image.Image]) -> list[ImageInput]:
    return [ImageInput(str(index), png(image)) for index, image in enumerate(images)]


def text_inputs(texts: Sequence[str]) -> list[TextInput]:
    return [TextInput(str(index), text) for index, text in enumerate(texts)]
