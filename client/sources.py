"""Whatever a caller calls a page, to documents, one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from colpali_serve.client.folders import SUFFIXES, walk
from colpali_serve.client.images import (
    EXPECTED,
    SNIFFED,
    decode_data_uri,
    encode_array,
    encode_frame,
    encode_image,
    frames,
    is_pdf,
    is_tiff,
    open_encoded,
    refuse,
)
from colpali_serve.client.pdf import iter_pdf
from colpali_serve.client.reading import Reading, Source, broken
from colpali_serve.schemas import InvalidPageError, PageDoc, describe

PageInput: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8] | PageDoc"
"""A file or folder, a data URI, encoded bytes, pixels, or a document that is ready."""

Pages: TypeAlias = "PageInput | Iterable[PageInput]"

SINGLE = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray, PageDoc)
_TYPES = "a path, a folder, a data URI, bytes, a PIL image, a uint8 array or a PageDoc"


def read_pages(pages: Pages, reading: Reading, keep: bool) -> Iterator[PageDoc]:
    """Read pages one by one, each when it is asked for.

    Args:
        pages: One page or any number of them, also from a generator.
        reading: Resolution and limits.
        keep: Yield a document with `error` for a page that cannot be read, and go on.

    Yields:
        Documents with `id` and `image`, in order.

    Raises:
        InvalidPageError: A page cannot be read and `keep` is False.
    """
    for source in iter_sources(pages, reading):
        try:
            document = source.load()
        except InvalidPageError as error:
            if not keep:
                raise
            document = PageDoc(id=source.id, error=describe(error))
        yield document


def count_pages(pages: Pages, reading: Reading) -> int | None:
    """Count pages without rendering any; None where counting would use up a generator."""
    if not isinstance(pages, (*SINGLE, list, tuple)):
        return None
    return sum(1 for _ in iter_sources(pages, reading))


def iter_sources(pages: Pages, reading: Reading) -> Iterator[Source]:
    """Name pages one by one; what cannot be read yields a source that raises."""
    single = isinstance(pages, SINGLE) or not isinstance(pages, Iterable)
    items: Iterable[Any] = [pages] if single else pages  # type: ignore[assignment]
    for number, item in enumerate(items, 1):
        yield from _expand(item, f"page-{number:04}", reading)


def _expand(item: object, name: str, reading: Reading) -> Iterator[Source]:
    match item:
        case PageDoc():
            ready = item if item.id else item.model_copy(update={"id": name})
            yield Source(str(ready.id), lambda: ready)
        case Image.Image():
            yield Source(name, partial(_page, encode_image, item, name))
        case np.ndarray():
            yield Source(name, partial(_page, encode_array, item, name))
        case bytes() | bytearray() | memoryview():
            yield from iter_content(bytes(item), name, reading)
        case str() if item[:5].lower() == "data:":
            try:
                yield from iter_content(decode_data_uri(item, name), name, reading)
            except InvalidPageError as error:
                yield broken(name, error)
        case str() if item[:8].lower().startswith(("http://", "https://")):
            found = f"address {item!r} is not fetched"
            yield broken(name, refuse(name, found, "a file that was downloaded"))
        case str() | os.PathLike():
            yield from _path(Path(item).expanduser(), reading)
        case _:
            yield broken(name, refuse(name, f"it is of type {type(item).__name__}", _TYPES))


def _path(path: Path, reading: Reading) -> Iterator[Source]:
    name = _readable(path.name or str(path))
    if not path.exists():
        yield broken(name, refuse(name, f"{path} does not exist", "a file or a folder"))
        return
    if path.is_file():
        yield from _file(path, name, reading)
        return
    if not path.is_dir():
        # A pipe or a device would be waited for, for ever.
        yield broken(name, refuse(name, f"{path} is neither", "a file or a folder"))
        return
    empty = True
    try:
        for file in walk(path):
            empty = False
            yield from _file(file, _readable(file.relative_to(path).as_posix()), reading)
    except OSError as error:
        yield broken(name, refuse(name, f"folder {path} cannot be read ({error})", "a folder"))
        return
    if empty:
        expected = f"files ending in {', '.join(SUFFIXES)}"
        yield broken(name, refuse(name, f"folder {path} has no images or PDFs", expected))


def _readable(name: str) -> str:
    """Return a file's name as text that can travel, also where its bytes are no UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def _file(path: Path, name: str, reading: Reading) -> Iterator[Source]:
    try:
        with path.open("rb") as file:
            head = file.read(SNIFFED)
        if is_pdf(head):
            yield from iter_pdf(path, name, reading)
        elif is_tiff(head):
            yield from iter_content(path.read_bytes(), name, reading)
        else:
            yield Source(name, partial(_read_image, path, name))
    except OSError as error:
        yield broken(name, refuse(name, f"cannot be read ({error.strerror})", "a readable file"))


def iter_content(data: bytes, name: str, reading: Reading) -> Iterator[Source]:
    """Name the pages of an encoded image or PDF; what cannot be read yields a source that raises.

    Args:
        data: The file.
        name: Of the file; pages of a PDF or of a TIFF of several are called ``name#1`` and so on.
        reading: Resolution and limits.
    """
    if is_pdf(data):
        yield from iter_pdf(data, name, reading)
        return
    try:
        count = frames(data, name) if is_tiff(data) else 1
    except InvalidPageError as error:
        yield broken(name, error)
        return
    if count == 1:
        yield Source(name, partial(_page, _checked, data, name))
        return
    if count > reading.max_pdf_pages:
        yield broken(name, refuse(name, f"{count} pages", f"at most {reading.max_pdf_pages}"))
        return
    for index in range(count):
        item = f"{name}#{index + 1}"
        frame = partial(encode_frame, data, index, reading.max_pixels)
        yield Source(item, partial(_page, frame, item))


def _read_image(path: Path, name: str) -> PageDoc:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise refuse(name, f"cannot be read ({error.strerror})", EXPECTED) from error
    return _page(_checked, data, name)


def _checked(data: bytes, item: str) -> bytes:
    open_encoded(data, item)
    return data


def _page(encode: Callable[..., bytes], *arguments: Any) -> PageDoc:
    return PageDoc(id=arguments[-1], image=encode(*arguments))
