"""Real pages to measure with: the PDFs of examples/, as a converter would hand them in."""

from __future__ import annotations

import io
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
    images: list[Image.Image] = []
    for path in sorted(_EXAMPLES.glob("*.pdf")):
        for source in iter_pdf(path, path.stem, Reading(dpi=DPI)):
            data = source.load().image
            images.append(Image.open(io.BytesIO(data or b"")).convert("RGB"))
    chosen = [
        images[number * len(images) // min(count, len(images))]
        for number in range(min(count, len(images)))
    ]
    encoded = [_encoded(image, kind) for image in chosen]
    return [encoded[number % len(encoded)] for number in range(count)]


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "png":
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
