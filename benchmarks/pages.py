"""Real pages to measure with: the PDFs of examples/, as a converter would hand them in."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from PIL import Image

from colpali_serve.client.pdf import iter_pdf
from colpali_serve.client.reading import Reading

DPI = 200
_EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "pages"
_JPEG_QUALITY = 85


def real_pages(count: int, kind: str) -> list[bytes]:
    """Encoded pages at 200 dots an inch, taken evenly from all example PDFs.

    Args:
        count: How many; the PDFs have some 30, after which they come again.
        kind: "png" or "jpeg".
    """
    images = _rendered()
    different = min(count, len(images))
    chosen = [images[number * len(images) // different] for number in range(different)]
    pages = [encoded(image, kind) for image in chosen]
    return [pages[number % different] for number in range(count)]


@cache
def _rendered() -> tuple[Image.Image, ...]:
    """All pages of all example PDFs, rendered once for every model and kind of file."""
    return tuple(
        Image.open(io.BytesIO(source.load().image or b"")).convert("RGB")
        for path in sorted(_EXAMPLES.glob("*.pdf"))
        for source in iter_pdf(path, path.stem, Reading(dpi=DPI))
    )


def encoded(image: Image.Image, kind: str) -> bytes:
    """An image as a file.

    Args:
        image: RGB.
        kind: "png" or "jpeg".
    """
    buffer = io.BytesIO()
    if kind == "png":
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
