"""Images as callers write them down."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_ADDRESSES = ("data:", "http://", "https://")


def spelt_out(value: object) -> object:
    """Bring every way to write an image into one form: ``{"url": ...}``.

    >>> spelt_out({"image": "https://example.com/a.png"})
    {'url': 'https://example.com/a.png'}
    >>> spelt_out("aGk=")
    {'url': 'data:;base64,aGk='}
    """
    if isinstance(value, str):
        known = value[:8].lower().startswith(_ADDRESSES)
        return {"url": value if known else f"data:;base64,{value}"}
    if isinstance(value, dict):
        inner: Any = value.get("image", value.get("image_url"))
        if inner is not None and "url" not in value:
            return spelt_out(inner)
    return value


class ImageUrl(BaseModel):
    """An image.

    Attributes:
        url: A data: URI, or an address on a host that the deployer allowed.
    """

    # BentoColPali's clients send `detail`, OpenAI's `type`.
    model_config = ConfigDict(extra="ignore", frozen=True)

    url: str = Field(min_length=1)


_URL = {"type": "string", "minLength": 1}

IMAGE_SCHEMA: dict[str, Any] = {
    "title": "Image",
    "description": "A data: URI, bare base64, or an address on an allowed host; alone or in an "
    "object.",
    "anyOf": [
        {"type": "object", "properties": {"url": _URL}, "required": ["url"]},
        {"type": "object", "properties": {"image": _URL}, "required": ["image"]},
        {
            "type": "object",
            "properties": {
                "image_url": {"type": "object", "properties": {"url": _URL}, "required": ["url"]}
            },
            "required": ["image_url"],
        },
        _URL,
    ],
}
"""JSON schema of an image, in every way to write one."""

Image = Annotated[ImageUrl, BeforeValidator(spelt_out), WithJsonSchema(IMAGE_SCHEMA)]
"""``{"url": ...}``, ``{"image": ...}``, ``{"image_url": {"url": ...}}`` or the string alone, which
may also be bare base64."""
