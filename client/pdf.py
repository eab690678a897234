"""PDF pages to images, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import pypdfium2
from pypdfium2 import PdfiumError
from pypdfium2.raw import FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY, FPDF_ERR_SUCCESS

from colpali_serve.client.images import refuse
from colpali_serve.client.png import encode_png
from colpali_serve.client.reading import Reading, Source, broken
from colpali_serve.schemas import InvalidPageError, PageDoc

_POINTS_PER_INCH = 72

# PDFium is not thread-safe, not even between documents. Reentrant, because an abandoned generator
# closes its document wherever the garbage collector happens to run.
_PDFIUM = threading.RLock()


def iter_pdf(content: Path | bytes, name: str, reading: Reading) -> Iterator[Source]:
    """Yield the pages of a PDF, each rendered when it is loaded.

    Args:
        content: The file, or what is in it.
        name: Name of the PDF; its third page is called ``name#3``.
        reading: Resolution and limits.

    Yields:
        One source a page, or a single one that raises `InvalidPageError` if the PDF is broken,
        encrypted, empty or too long.
    """
    try:
        with _PDFIUM:
            document = _open(content, name)
    except InvalidPageError as error:
        yield broken(name, error)
        return
    try:
        with _PDFIUM:
            count = len(document)
        if count > reading.max_pdf_pages:
            found = f"the PDF has {count} pages"
            expected = f"at most {reading.max_pdf_pages}; split it or raise max_pdf_pages"
            yield broken(name, refuse(name, found, expected))
            return
        for index in range(count):
            item = f"{name}#{index + 1}"
            yield Source(item, partial(_render, document, index, item, reading))
    finally:
        with _PDFIUM:
            document.close()


def _open(content: Path | bytes, name: str) -> Any:
    try:
        document = pypdfium2.PdfDocument(content)
    except PdfiumError as error:
        if error.err_code in (FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY):
            raise refuse(
                name, "the PDF is encrypted", "one that opens without a password"
            ) from error
        if error.err_code == FPDF_ERR_SUCCESS:
            raise refuse(name, "the PDF has 0 pages", "at least one") from error
        raise refuse(name, f"the PDF is broken ({error})", "a complete PDF") from error
    try:
        # What is filled into a form is drawn only if the form is known before its pages.
        document.init_forms()
    except PdfiumError as error:
        document.close()
        raise refuse(name, f"the PDF's form is broken ({error})", "a complete PDF") from error
    return document


def _render(document: Any, index: int, item: str, reading: Reading) -> PageDoc:
    scale = reading.dpi / _POINTS_PER_INCH
    with _PDFIUM:
        try:
            page = document[index]
        except PdfiumError as error:
            raise refuse(item, f"the page is broken ({error})", "a complete PDF") from error
        try:
            points = page.get_size()
            width, height = (ceil(side * scale) for side in points)
            if width < 1 or height < 1 or width * height > reading.max_pixels:
                raise refuse(
                    item,
                    f"{points[0]:.0f}x{points[1]:.0f} points at {reading.dpi} dpi are "
                    f"{width}x{height} pixels",
                    f"1 to {reading.max_pixels} pixels; choose a lower dpi",
                )
            try:
                bitmap = page.render(scale=scale, rev_byteorder=True)
            except PdfiumError as error:
                raise refuse(item, f"it cannot be rendered ({error})", "a valid page") from error
            pixels = bitmap.to_numpy()
        finally:
            page.close()
    try:
        return PageDoc(id=item, image=encode_png(pixels))
    finally:
        with _PDFIUM:
            bitmap.close()
