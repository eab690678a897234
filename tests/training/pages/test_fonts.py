"""Fonts that draw English are found, others are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from colpali_serve.training.pages import fonts


@pytest.fixture
def folder(tmp_path: Path, face: Path) -> Path:
    (tmp_path / "below").mkdir()
    for name in ("b.ttf", "a.ttf", "below/c.otf", "NotoSansMath-Regular.ttf", "Symbola.ttf",
                 "NotoSansThai-Regular.ttf", "Face[wght].ttf", "readme.txt"):  # fmt: skip
        shutil.copy(face, tmp_path / name)
    (tmp_path / "broken.ttf").write_bytes(b"no font at all")
    return tmp_path


def test_usable_fonts_come_in_order_of_name(folder: Path) -> None:
    found = fonts.usable([folder])
    assert [path.name for path in found] == ["a.ttf", "b.ttf", "c.otf"]


@pytest.mark.parametrize(
    ("name", "suitable"),
    [
        ("NotoSans-Regular.ttf", True),
        ("NotoSansMono-Bold.ttf", True),
        ("NotoSerifDisplay-Bold.ttf", True),
        ("NotoSansThai-Regular.ttf", False),
        ("NotoSerifKhmer-Bold.ttf", False),
        ("DejaVuMathTeXGyre.ttf", False),
        ("OpenSymbol.otf", False),
        ("Roboto[wdth,wght].ttf", False),
        ("Lato-Italic.ttf", True),
    ],
)
def test_names_tell_what_is_no_page_of_english(
    tmp_path: Path, face: Path, name: str, suitable: bool
) -> None:
    shutil.copy(face, tmp_path / name)
    assert bool(fonts.usable([tmp_path])) == suitable


def test_a_file_name_counts_once(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    shutil.copy(folder / "a.ttf", other / "a.ttf")
    found = fonts.usable([folder, other])
    assert [path for path in found if path.name == "a.ttf"] == [folder / "a.ttf"]
    assert fonts.usable([other]) == (other / "a.ttf",)


def test_widths_are_those_that_the_pen_moves(face: Path) -> None:
    assert fonts.width(face, 20, "ab") == pytest.approx(
        fonts.width(face, 20, "a") + fonts.width(face, 20, "b"), abs=1
    )
    assert fonts.width(face, 40, "castle") == pytest.approx(
        2 * fonts.width(face, 20, "castle"), rel=0.1
    )
