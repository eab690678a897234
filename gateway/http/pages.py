"""The pages of a request: its images, and those of its uploaded images, PDFs and TIFFs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from colpali_serve.client.images import has_pages
from colpali_serve.gateway.http.images import ImageUrl
from colpali_serve.gateway.http.reading import Upload
from colpali_serve.gateway.http.rendering import Rendering
from colpali_serve.gateway.limits import Limits
from colpali_serve.schemas import InvalidInputError, InvalidPageError, PageDoc, owner


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a request, or why it is none.

    Attributes:
        id: Index of the item in the body, or name of the file, with the page's number where it has
            several.
        doc: With the image; None where there is an error.
        file: Name of the uploaded file that it comes from, or None.
        number: Of the page in that file, from 1, or None.
        thumbnail: A small JPEG; empty where none was asked for.
        error: Why there is no page.
    """

    id: str
    doc: PageDoc | None
    file: str | None = None
    number: int | None = None
    thumbnail: bytes = b""
    error: InvalidPageError | None = None

    @property
    def place(self) -> dict[str, Any]:
        """What answers say about where the page comes from."""
        return {} if self.file is None else {"file": self.file, "page": self.number}


class PageReader:
    """Turns bodies and files into pages.

    Args:
        rendering: Opens what is untrusted.
        limits: How many pages a request may have.
    """

    def __init__(self, rendering: Rendering, limits: Limits) -> None:
        self._rendering = rendering
        self._limits = limits

    def listed(self, images: Sequence[ImageUrl]) -> list[Page]:
        """Return the pages of a body without files.

        Raises:
            InvalidInputError: There are none.
            TooLargeError: There are too many.
        """
        if not images:
            raise InvalidInputError("the request has 0 pages, expected at least 1")
        self._limits.check_pages(len(images))
        return [_of_url(index, image) for index, image in enumerate(images)]

    async def pages(
        self,
        images: Sequence[ImageUrl],
        files: Iterable[Upload],
        dpi: int,
        thumbnails: bool = False,
    ) -> AsyncGenerator[Page, None]:
        """Read pages one at a time, those in the body first, as fast as they are taken.

        Args:
            images: Of the body.
            files: Uploaded images and PDFs.
            dpi: Resolution at which PDFs are rendered.
            thumbnails: Whether to make them.

        Yields:
            Pages and errors, in order.

        Raises:
            TooLargeError: There are too many.
        """
        count = 0
        for index, image in enumerate(images):
            count += 1
            self._limits.check_pages(count)
            page = _of_url(index, image)
            small = await self._small(page, _bytes_of(image.url)) if thumbnails else b""
            yield Page(page.id, page.doc, thumbnail=small)
        for file in files:
            async for page in self._of_file(file, dpi, thumbnails):
                count += 1
                self._limits.check_pages(count)
                yield page

    async def one(
        self, image: ImageUrl | None, files: Sequence[Upload], number: int, dpi: int
    ) -> tuple[Page, bytes]:
        """Read the only page of a request.

        Args:
            image: Of the body.
            files: Or one uploaded image or PDF.
            number: Which page of a PDF or TIFF, from 1.
            dpi: Resolution at which PDFs are rendered.

        Returns:
            The page, and its encoded image.

        Raises:
            InvalidInputError: There is no page, or more than one.
            InvalidPageError: The file is bad, or has no such page.
        """
        count = len(files) + (image is not None)
        if count != 1:
            raise InvalidInputError(f"the request has {count} pages, expected 1")
        if image is not None:
            return _of_url(0, image), _bytes_of(image.url)
        [file] = files
        if not has_pages(file.content):
            if number > 1:
                raise InvalidPageError(
                    f"{owner('page', file.name)}: page {number} of an image is wanted, expected 1",
                    file.name,
                )
            page = Page(file.name, PageDoc(id=file.name, image=file.content), file.name, 1)
            return page, file.content
        pages = self._rendering.pages(file.content, file.name, dpi, only=number)
        async with aclosing(pages):
            [found] = [page async for page in pages]
        if found.error is not None:
            raise found.error
        name, content = found.name, found.image or b""
        return Page(name, PageDoc(id=name, image=content), file.name, number), content

    async def _of_file(
        self, file: Upload, dpi: int, thumbnails: bool
    ) -> AsyncGenerator[Page, None]:
        if not has_pages(file.content):
            page = Page(file.name, PageDoc(id=file.name, image=file.content), file.name, 1)
            small = await self._small(page, file.content) if thumbnails else b""
            yield Page(page.id, page.doc, page.file, page.number, small)
            return
        async for found in self._rendering.pages(file.content, file.name, dpi, thumbnails):
            doc = None if found.error else PageDoc(id=found.name, image=found.image)
            yield Page(found.name, doc, file.name, found.number, found.thumbnail, found.error)

    async def _small(self, page: Page, content: bytes) -> bytes:
        return await self._rendering.thumbnail(content, page.id) if content else b""


def _of_url(index: int, image: ImageUrl) -> Page:
    return Page(str(index), PageDoc(id=str(index), url=image.url))


def _bytes_of(url: str) -> bytes:
    """Return what a data: URI holds; nothing where the encoder will have to say what is wrong."""
    head, _, payload = url.partition(",")
    if not head.lower().startswith("data:"):
        return b""
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return b""
