"""Images as callers write them down, to pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from colpali_serve.gateway.http.reading import Upload
from colpali_serve.schemas import PageDoc


def _spelt_out(value: object) -> object:
    """Bring every way to write an image into one form: ``{"url": ...}``.

    >>> _spelt_out({"image": "https://example.com/a.png"})
    {'url': 'https://example.com/a.png'}
    >>> _spelt_out("aGk=")
    {'url': 'data:;base64,aGk='}
    """
    if isinstance(value, dict):
        inner: Any = value.get("image", value.get("image_url"))
        if inner is None or len(value) > 1 + ("type" in value):
            return value
        return _spelt_out(inner)
    if isinstance(value, str) and not value[:8].lower().startswith(
        ("data:", "http://", "https://")
    ):
        return {"url": f"data:;base64,{value}"}
    return {"url": value} if isinstance(value, str) else value


class _Image(BaseModel):
    model_config = ConfigDict(extra="ignore")

    url: str = Field(min_length=1, description="A data: URI, or an address on an allowed host.")


Image = Annotated[_Image, BeforeValidator(_spelt_out)]
"""``{"url": ...}``, ``{"image": ...}``, ``{"image_url": {"url": ...}}`` or the string alone, which
may also be bare base64."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a request.

    Attributes:
        doc: Its id is the index of the item, or the file's name and the page's number.
        file: Name of the uploaded file that it comes from, or None.
        number: Of the page in that file, from 1, or None.
    """

    doc: PageDoc
    file: str | None = None
    number: int | None = None


def pages_of(images: Iterable[_Image], files: Iterable[Upload]) -> list[Page]:
    """Return the pages of a request, those in the body first."""
    pages = [Page(PageDoc(id=str(index), url=image.url)) for index, image in enumerate(images)]
    pages += [Page(PageDoc(id=file.name, image=file.content), file.name, 1) for file in files]
    return pages
