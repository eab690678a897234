"""Heatmaps through the clients and the command line, against a service over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colpali_serve.client import AsyncColPaliClient, ColPaliClient
from colpali_serve.schemas import (
    ConfigError,
    InvalidInputError,
    InvalidPageError,
    PageDoc,
    RemoteError,
)
from tests.client.test_cli import run_here, run_process

RED_AT = (1, 2)
"""Row and column of the place that is red, of two rows and three columns."""


@pytest.fixture
def picture() -> Image.Image:
    page = Image.new("RGB", (30, 20), "black")
    page.paste((255, 0, 0), (20, 10, 30, 20))
    return page


def test_a_token_has_a_map_of_the_page(client: ColPaliClient, picture: Image.Image) -> None:
    found = client.heatmap("rg", picture)
    assert (found.id, found.query, found.tokens) == ("page-0001", "rg", ["r", "g"])
    assert found.kinds == ["text", "text"]
    assert found.grid == (3, 2)
    assert found.maps.dtype == np.float32
    expected = np.zeros((2, 2, 3))
    expected[0][RED_AT] = 1
    np.testing.assert_array_equal(found.maps, expected)


def test_the_overlay_is_coloured_there(client: ColPaliClient, picture: Image.Image) -> None:
    found = client.heatmap("rg", picture, all_tokens=True)
    assert found.kinds[-1] == "special"
    for drawn in (found.overlay(), found.overlay(0)):
        assert drawn.size == picture.size
        change = np.asarray(drawn, int) - np.asarray(picture, int)
        row, column = np.unravel_index(np.abs(change).sum(axis=2).argmax(), (20, 30))
        assert (row // 10, column // 10) == RED_AT
    # "g" is nowhere on it, and what is not the user's own text does not count.
    np.testing.assert_array_equal(found.overlay(1), picture)
    for token in (-1, 3):
        with pytest.raises(InvalidInputError, match=f"token is {token}, expected 0 to 2"):
            found.overlay(token)


def test_the_asynchronous_client_has_the_same(port: int, picture: Image.Image) -> None:
    found = asyncio.run(AsyncColPaliClient("localhost", port).heatmap("r", picture))
    assert found.maps[0][RED_AT] == 1


def test_a_page_of_several_is_chosen(client: ColPaliClient, make_pdf: Callable[..., Path]) -> None:
    book = make_pdf("book.pdf", 10, 250)
    assert client.heatmap("r", book, 2).id == "book.pdf#2"
    with pytest.raises(InvalidPageError, match="#2 comes behind it, expected one page"):
        client.heatmap("r", book)
    with pytest.raises(InvalidPageError, match="number is 3, expected 1 to 2"):
        client.heatmap("r", book, 3)
    with pytest.raises(ConfigError, match="number is 0, expected at least 1"):
        client.heatmap("r", book, 0)


def test_what_is_bad_is_named(client: ColPaliClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="query is a list, expected text"):
        client.heatmap(["r"], tmp_path)  # type: ignore[arg-type]
    with pytest.raises(InvalidPageError, match="does not exist"):
        client.heatmap("r", tmp_path / "nothing.png")


def test_an_answer_without_maps_is_refused(client: ColPaliClient, tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "forgotten.png")
    page = PageDoc(id="forgotten", image=(tmp_path / "forgotten.png").read_bytes())
    with pytest.raises(RemoteError, match=r"maps of shape \(0,\) for 1 tokens"):
        client.heatmap("r", page)


def test_the_command_writes_a_picture(port: int, picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "page.png")
    out = tmp_path / "seen.png"
    result = run_process("heatmap", tmp_path / "page.png", "rg", "--out", out, "--port", port)
    assert (result.code, result.errors) == (0, "")
    lines = [line.split() for line in result.out.splitlines() if line.strip()]
    assert lines == [
        ["rg", "on", "page.png"],
        ["token", "text", "best"],
        ["1", "r", "1.000"],
        ["2", "g", "0.000"],
    ]
    with Image.open(out) as drawn:
        assert drawn.size == picture.size
        assert (np.asarray(drawn) != np.asarray(picture)).any()


def test_the_command_says_what_is_wrong(
    port: int, make_pdf: Callable[..., Path], tmp_path: Path
) -> None:
    book = make_pdf("book.pdf", 10, 250)
    arguments = ["heatmap", book, "r", "--port", port]
    for more, error in (
        (["--out", tmp_path / "x.gif"], "error: --out is"),
        (["--out", tmp_path / "none" / "x.png"], "error: --out is"),
        (["--out", tmp_path / "x.png"], "error: page 'book.pdf#1': book.pdf#2 comes behind it"),
        (
            ["--out", tmp_path / "x.png", "--page", 2, "--token", 2],
            "error: --token is 2, expected 1 to 1",
        ),
    ):
        result = run_here(*arguments, *more)
        assert (result.code, result.out) == (1, "")
        assert result.errors.startswith(error)
    assert not (tmp_path / "x.png").exists()
