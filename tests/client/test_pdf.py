"""PDF pages: in order, at the resolution asked for, within limits."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image

from colpali_serve.client.pdf import iter_pdf
from colpali_serve.client.reading import Reading
from colpali_serve.client.sources import read_pages
from colpali_serve.schemas import InvalidPageError

# What a password opens; the keys are made up, so the empty password does not.
ENCRYPTED = b"""%%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj
4 0 obj<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>endobj
trailer<</Root 1 0 R/Encrypt 4 0 R/ID[<00><00>]>>
%%%%EOF
""" % (b"11" * 32, b"22" * 32)


def sizes(path: Path, **reading: int) -> list[tuple[int, int]]:
    pages = read_pages(path, Reading(**reading), keep=False)
    return [Image.open(io.BytesIO(page.image or b"")).size for page in pages]


@pytest.fixture
def blank(tmp_path: Path) -> Callable[..., Path]:
    """Writes a PDF of empty pages of the given sizes in points."""

    def make(*points: tuple[float, float]) -> Path:
        document = pypdfium2.PdfDocument.new()
        for width, height in points:
            document.new_page(width, height).close()
        path = tmp_path / "blank.pdf"
        document.save(path)
        document.close()
        return path

    return make


def test_pages_come_in_order(make_pdf: Callable[..., Path]) -> None:
    path = make_pdf("book.pdf", *range(0, 250, 10))
    pages = list(read_pages(path, Reading(), keep=False))
    assert [page.id for page in pages] == [f"book.pdf#{number}" for number in range(1, 26)]
    shades = [Image.open(io.BytesIO(page.image or b"")).getpixel((5, 5))[0] for page in pages]
    assert shades == pytest.approx(list(range(0, 250, 10)), abs=3)


def test_resolution(blank: Callable[..., Path]) -> None:
    path = blank((72, 144), (144, 36))
    assert sizes(path) == [(150, 300), (300, 75)]
    assert sizes(path, dpi=72) == [(72, 144), (144, 36)]


def test_empty_paper_is_white(blank: Callable[..., Path]) -> None:
    (page,) = read_pages(blank((10, 10)), Reading(), keep=False)
    image = Image.open(io.BytesIO(page.image or b""))
    assert image.getextrema() == ((255, 255),) * 3


def test_page_of_five_metres_is_refused_before_it_takes_memory(blank: Callable[..., Path]) -> None:
    path = blank((14173, 14173), (72, 72))
    message = (
        r"page 'blank.pdf#1': 14173x14173 points at 150 dpi are 29528x29528 pixels, "
        "expected 1 to 50000000 pixels; choose a lower dpi"
    )
    with pytest.raises(InvalidPageError, match=message):
        sizes(path)
    first, second = read_pages(path, Reading(), keep=True)
    assert first.error is not None and second.image is not None
    assert sizes(path, dpi=10)[0] == (1969, 1969)


def test_long_pdf_is_refused(make_pdf: Callable[..., Path]) -> None:
    path = make_pdf("long.pdf", 1, 2, 3)
    with pytest.raises(InvalidPageError, match=r"page 'long.pdf': the PDF has 3 pages, expected a"):
        sizes(path, max_pdf_pages=2)
    assert len(sizes(path, max_pdf_pages=3)) == 3


def test_ten_thousand_pages_are_refused_by_default(blank: Callable[..., Path]) -> None:
    path = blank(*[(10, 10)] * 10_000)
    with pytest.raises(InvalidPageError, match=r"has 10000 pages, expected at most 2000; split"):
        sizes(path)


def test_encrypted_pdf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.pdf"
    path.write_bytes(ENCRYPTED)
    with pytest.raises(
        InvalidPageError, match=r"page 'secret.pdf': the PDF is encrypted, expected"
    ):
        sizes(path)


def test_truncated_pdf_is_refused(make_pdf: Callable[..., Path]) -> None:
    path = make_pdf("cut.pdf", 1, 2)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(
        InvalidPageError, match=r"page 'cut.pdf': the PDF is broken \(.*\), expected"
    ):
        sizes(path)


def test_pdf_without_pages_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.pdf"
    document = pypdfium2.PdfDocument.new()
    document.save(path)
    document.close()
    with pytest.raises(InvalidPageError, match=r"page 'none.pdf': the PDF .*, expected"):
        sizes(path)


def test_abandoned_pdf_is_closed(make_pdf: Callable[..., Path]) -> None:
    sources = iter_pdf(make_pdf("book.pdf", 1, 2, 3), "book.pdf", Reading())
    source = next(sources)
    assert source.load().image
    sources.close()  # type: ignore[attr-defined]
    assert next(iter_pdf(make_pdf("book.pdf", 9), "book.pdf", Reading())).id == "book.pdf#1"


def test_threads_render_at_the_same_time(make_pdf: Callable[..., Path]) -> None:
    paths = [make_pdf(f"{number}.pdf", *[number * 20] * 6) for number in range(8)]

    def shades(path: Path) -> list[int]:
        pages = read_pages(path, Reading(), keep=False)
        return [Image.open(io.BytesIO(page.image or b"")).getpixel((3, 3))[0] for page in pages]

    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(shades, paths)):
            assert found == pytest.approx([number * 20] * 6, abs=3)
