"""The page set: which pages, their text, their images, and what happens to another edition."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colpali_serve.schemas import ConfigError
from colpali_serve.training.evaluation.manuals import (
    Page,
    load_pages,
    page_images,
    read_manuals,
    read_pages,
    read_pdf,
    text_digest,
)
from colpali_serve.training.evaluation.scans import scan
from colpali_serve.training.packages import read_packages
from tests.conftest import ROOT
from tests.training.evaluation.conftest import Tiny
from tests.training.evaluation.editions import digest

SOURCES = ROOT / "training/sources/evaluation.toml"


def folders(tiny: Tiny) -> dict[str, Path]:
    return {key: tiny.work / "packages" / key for key in ("bzip2", "simh")}


def test_pages_and_texts(tiny: Tiny, tmp_path: Path) -> None:
    pages, pdfs = load_pages(read_manuals(tiny.sources), folders(tiny), tmp_path)
    assert [page.id for page in pages] == ["bzip2#2", "bzip2#3", "simh#2"]
    assert "damaged" in pages[0].text
    assert "\ufffe" not in "".join(page.text for page in pages)
    texts = json.loads((tmp_path / "texts.json").read_text())
    assert texts == {"bzip2": [pages[0].text, pages[1].text], "simh": [pages[2].text]}
    assert set(pdfs) == {"bzip2", "simh"}


def test_pages_with_few_words_are_passed_over(tiny: Tiny, tmp_path: Path) -> None:
    manual = read_manuals(tiny.sources)[0]
    pdf = read_pdf(manual, folders(tiny)["bzip2"])

    def read(min_words: int) -> list[Page]:
        found = digest(pdf, 1, 9, min_words)
        wanted = replace(manual, first=1, pages=9, min_words=min_words, text_sha256=found)
        return load_pages([wanted], folders(tiny), tmp_path)[0]

    every = read(20)
    fewest = min(every, key=lambda page: len(page.text.split()))
    kept = read(len(fewest.text.split()) + 1)
    assert [page.number for page in kept] == [
        page.number for page in every if page.number != fewest.number
    ]


def test_images_are_those_of_the_client_and_are_kept(tiny: Tiny, tmp_path: Path) -> None:
    pages, pdfs = load_pages(read_manuals(tiny.sources), folders(tiny), tmp_path)
    first = {page.id: image for page, image in page_images(pages, pdfs, tmp_path / "images")}
    kinds = {page: Image.open(io.BytesIO(image)).format for page, image in first.items()}
    assert kinds == {"bzip2#2": "PNG", "bzip2#3": "PNG", "simh#2": "JPEG"}
    # Without the PDFs there is nothing to render from: these come from the disk.
    again = page_images(pages, {}, tmp_path / "images")
    assert {page.id: image for page, image in again} == first


def test_another_edition_is_refused(tiny: Tiny) -> None:
    manual = replace(read_manuals(tiny.sources)[0], text_sha256="0" * 64)
    with pytest.raises(ConfigError, match=r"text of manual 'bzip2' has digest .* another edition"):
        read_pages(manual, read_pdf(manual, folders(tiny)["bzip2"]))
    with pytest.raises(ConfigError, match=r"manual 'bzip2' cannot be read \(No such file"):
        read_pdf(manual, tiny.work)


def test_the_same_edition_built_anew_is_taken(tiny: Tiny) -> None:
    manual = read_manuals(tiny.sources)[0]
    pdf = read_pdf(manual, folders(tiny)["bzip2"])
    anew = pdf + b"\n% built on another day\n"
    assert [page.text for page in read_pages(manual, anew)] == [
        page.text for page in read_pages(manual, pdf)
    ]


def test_a_digest_says_what_stands_on_which_page(tiny: Tiny) -> None:
    manual = read_manuals(tiny.sources)[0]
    pages = [Page(manual, 1, "one two"), Page(manual, 2, "three")]
    same = [Page(manual, 1, "one-\ntwo."), pages[1]]
    assert text_digest(pages) == text_digest(same)
    for others in (
        [Page(manual, 1, "one"), Page(manual, 2, "two three")],
        [Page(manual, 1, "one two"), Page(manual, 3, "three")],
        pages[:1],
    ):
        assert text_digest(others) != text_digest(pages)


def test_a_wrong_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('[[manual]]\nkey = "a"\ncolour = 3\n')
    with pytest.raises(ConfigError, match=r"manual 'a' in x\.toml: .*colour"):
        read_manuals(path)


def test_scans_repeat_themselves_and_differ_between_pages() -> None:
    page = Image.new("RGB", (200, 300), "white")
    page.paste((0, 0, 0), (60, 100, 140, 110))
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    first = scan(buffer.getvalue(), "a#1")
    assert first == scan(buffer.getvalue(), "a#1") != scan(buffer.getvalue(), "a#2")
    pixels = np.asarray(Image.open(io.BytesIO(first))).astype(int)
    assert pixels.shape == (300, 200, 3)
    assert pixels[100:110, 60:140].mean() < pixels[150:].mean() - 60  # the bar is still dark


def test_our_sources_are_complete() -> None:
    packages = {package.name: package for package in read_packages(SOURCES)}
    manuals = read_manuals(SOURCES)
    assert len(manuals) >= 10
    assert sum(manual.pages for manual in manuals) >= 400
    assert 50 <= sum(manual.pages for manual in manuals if manual.scanned) <= 80
    for manual in manuals:
        assert manual.file in packages[manual.package].files
        assert len(manual.text_sha256) == 64


def test_training_reads_none_of_them() -> None:
    ours = {package.name for package in read_packages(SOURCES)}
    for path in SOURCES.parent.glob("*.toml"):
        if path != SOURCES:
            assert not ours & {package.name for package in read_packages(path)}, path.name
