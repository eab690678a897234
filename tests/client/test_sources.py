"""Whatever is called a page, read in order and lazily, or refused by name."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colpali_serve.client.embedding import read_queries
from colpali_serve.client.folders import walk
from colpali_serve.client.reading import Reading
from colpali_serve.client.sources import count_pages, iter_sources, read_pages
from colpali_serve.schemas import InvalidPageError, InvalidQueryError, PageDoc


def read(pages: object, keep: bool = False, **reading: int) -> list[PageDoc]:
    return list(read_pages(pages, Reading(**reading), keep))  # type: ignore[arg-type]


def ids(pages: object) -> list[str]:
    return [str(page.id) for page in read(pages)]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path, make_page: Callable[..., Image.Image]) -> Path:
    """Images, PDFs, other files and further folders."""
    root = tmp_path / "scans"
    for name in ["page-10.png", "page-2.PNG", "b/2.jpg", "b/10.webp", "a.tiff", ".hidden.png"]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make_page(9).save(path)
    make_page(1).save(root / "c.pdf", save_all=True, append_images=[make_page(2)])
    (root / "notes.txt").write_text("not a page")
    (root / ".cache").mkdir()
    make_page(9).save(root / ".cache" / "x.png")
    return root


def test_folder_is_read_in_natural_order(folder: Path) -> None:
    expected = ["a.tiff", "b/2.jpg", "b/10.webp", "c.pdf#1", "c.pdf#2", "page-2.PNG", "page-10.png"]
    assert ids(folder) == expected
    assert ids(str(folder)) == expected
    assert count_pages(folder, Reading()) == len(expected)


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    (folder / "b" / "back").symlink_to(folder)
    assert len(list(walk(folder))) == 6


def test_image_files_are_sent_as_they_are(folder: Path) -> None:
    (page,) = read(folder / "b" / "2.jpg")
    assert (page.id, page.image) == ("2.jpg", (folder / "b" / "2.jpg").read_bytes())


def test_every_kind_of_input(folder: Path, make_page: Callable[..., Image.Image]) -> None:
    image = make_page(7)
    data = png(image)
    inputs = [
        folder / "c.pdf",
        str(folder / "page-2.PNG"),
        image,
        np.asarray(image),
        data,
        bytearray(data),
        f"data:image/png;base64,{base64.b64encode(data).decode()}",
        PageDoc(id="mine", image=data),
        (folder / "c.pdf").read_bytes(),
    ]
    expected = ["c.pdf#1", "c.pdf#2", "page-2.PNG", "page-0003", "page-0004", "page-0005"]
    expected += ["page-0006", "page-0007", "mine", "page-0009#1", "page-0009#2"]
    assert ids(inputs) == expected
    assert ids(iter(inputs)) == expected
    for page in read(inputs)[3:9]:
        decoded = Image.open(io.BytesIO(page.image or b"")).convert("RGB")
        assert decoded.getpixel((0, 0)) == (7, 0, 0)


def test_one_page_needs_no_list(make_page: Callable[..., Image.Image]) -> None:
    assert ids(make_page(1)) == ids(png(make_page(1))) == ids(np.zeros((2, 2), np.uint8))


def test_pages_of_a_tiff(tmp_path: Path, make_page: Callable[..., Image.Image]) -> None:
    path = tmp_path / "fax.tif"
    make_page(10).save(path, save_all=True, append_images=[make_page(20), make_page(30)])
    pages = read(path)
    assert [page.id for page in pages] == ["fax.tif#1", "fax.tif#2", "fax.tif#3"]
    reds = [Image.open(io.BytesIO(page.image or b"")).getpixel((0, 0))[0] for page in pages]
    assert reds == [10, 20, 30]


def test_generators_are_read_only_as_far_as_needed(make_page: Callable[..., Image.Image]) -> None:
    taken = []

    def pages() -> Iterator[Image.Image]:
        for number in range(1000):
            taken.append(number)
            yield make_page(number % 256)

    reader = read_pages(pages(), Reading(), keep=False)
    assert [next(reader).id for _ in range(3)] == ["page-0001", "page-0002", "page-0003"]
    assert len(taken) == 3
    assert count_pages(pages(), Reading()) is None


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("nowhere.pdf", "page 'nowhere.pdf': nowhere.pdf does not exist, expected a file"),
        (b"", "page 'page-0001': 0 bytes, expected PNG, JPEG"),
        (b"abc", "page 'page-0001': 3 bytes of no known format, expected PNG, JPEG"),
        (7, "page 'page-0001': it is of type int, expected a path"),
        (None, "page 'page-0001': it is of type NoneType, expected a path"),
        ("https://a.b/c.png", "page 'page-0001': address 'https://a.b/c.png' is not fetched"),
        ("data:image/png,abc", "page 'page-0001': a data URI that is not base64"),
        ("data:image/png;base64,a", "page 'page-0001': a data URI with bad base64"),
        (b"%PDF-1.7 nonsense", r"page 'page-0001': the PDF is broken \(.*\), expected a complete"),
        (b"II*\0nonsense", "page 'page-0001': .*, expected PNG"),
    ],
)
def test_what_is_no_page_is_refused_by_name(item: object, message: str) -> None:
    with pytest.raises(InvalidPageError, match=message) as info:
        read([item])
    assert info.value.item
    (page,) = read([item], keep=True)
    assert page.image is None
    assert page.error == f"InvalidPageError: {info.value.message}"


def test_folder_without_pages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidPageError, match=r"page 'empty': folder .* has no images or PDFs"):
        read(tmp_path / "empty")


def test_bad_pages_do_not_stop_the_others(folder: Path) -> None:
    (folder / "b" / "2.jpg").write_bytes(b"")
    (folder / "c.pdf").write_bytes(b"%PDF-1.4")
    errors = {str(page.id): page.error for page in read(folder, keep=True)}
    assert [name for name, error in errors.items() if error] == ["b/2.jpg", "c.pdf"]
    assert len(errors) == 6


def test_sources_are_named_without_being_read(folder: Path) -> None:
    (folder / "page-2.PNG").write_bytes(b"")
    assert "page-2.PNG" in [source.id for source in iter_sources(folder, Reading())]


def test_a_name_that_is_no_utf8_can_travel(
    tmp_path: Path, make_page: Callable[..., Image.Image]
) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    with open(path, "wb") as file:  # noqa: PTH123  (pathlib would decode the name)
        make_page(1).save(file, "PNG")
    (page,) = read_pages(tmp_path, Reading(), keep=False)
    assert str(page.id).encode().decode() == "\ufffd\ufffd.png"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InvalidPageError, match="is neither, expected a file or a folder"):
        list(read_pages(tmp_path / "pipe.png", Reading(), keep=False))


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InvalidQueryError, match="character 1 is half of a surrogate pair"):
        list(read_queries("a\ud800", Reading(), keep=False))
