"""PDFs made by hand: every word where it is told to be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

LETTER_PAPER = (0, 0, 612, 792)


def said(x: float, y: float, text: str, size: float = 12, degrees: float = 0) -> str:
    """Text from a point on, in points from the lower left corner, turned to the left."""
    across, up = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    shown = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    matrix = f"{across:.5f} {up:.5f} {-up:.5f} {across:.5f} {x} {y}"
    return f"BT /F {size} Tf {matrix} Tm ({shown}) Tj ET\n"


def lines(words: Sequence[str], each: int = 8, size: float = 12, top: float = 700) -> str:
    """Words in lines of so many, from the top of the page down."""
    starts = range(0, len(words), each)
    return "".join(
        said(72, top - 1.5 * size * number, " ".join(words[start : start + each]), size)
        for number, start in enumerate(starts)
    )


def pdf(
    pages: Iterable[str],
    box: tuple[int, int, int, int] = LETTER_PAPER,
    rotated: int = 0,
) -> bytes:
    """A PDF in Helvetica.

    Args:
        pages: what :func:`said` made, in characters of Windows-1252.
        box: left, bottom, right, top of every page, in points.
        rotated: degrees, clockwise, that its pages are turned by when they are shown.
    """
    contents = list(pages)
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(contents)))
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    objects.append(
        f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} /Rotate {rotated} "
        f"/MediaBox [{' '.join(map(str, box))}] /Resources << /Font << /F {font} >> >> >>"
    )
    for number, content in enumerate(contents):
        objects.append(f"<< /Type /Page /Parent 2 0 R /Contents {4 + 2 * number} 0 R >>")
        length = len(content.encode("cp1252"))
        objects.append(f"<< /Length {length} >>\nstream\n{content}endstream")
    made, places = b"%PDF-1.4\n", list[int]()
    for number, each in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n{each}\nendobj\n".encode("cp1252")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer\n<< /Size {len(places) + 1} /Root 1 0 R >>\nstartxref\n{len(made)}\n%%EOF\n"
    return made + end.encode()
