"""Cells of a heatmap stand where they say, for every family, whatever the shape of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.heatmap import over_the_page, patch_rows
from colpali_serve.engine.margins import Box
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import EncodingError, InvalidPageError, InvalidQueryError
from tests.checkpoints import FAMILIES
from tests.engine.inputs import page_inputs, png

SIZES = [(200, 560), (560, 200), (420, 420)]
WORDS = {
    "recover": (0.1, 0.1),
    "telescope": (0.6, 0.2),
    "invoice": (0.15, 0.45),
    "battery": (0.55, 0.6),
    "mountain": (0.3, 0.9),
}

Start = Callable[..., Encoder]


def with_cell(size: tuple[int, int], grid: tuple[int, int], cell: tuple[int, int]) -> Image.Image:
    """A white page, one cell of whose grid is red; the cell is (row, column)."""
    (width, height), (columns, rows), (row, column) = size, grid, cell
    page = Image.new("RGB", size, "white")
    left, right = column * width / columns, (column + 1) * width / columns
    top, bottom = row * height / rows, (row + 1) * height / rows
    ImageDraw.Draw(page).rectangle((left, top, right - 1, bottom - 1), "red")
    return page


def arranged(running: Encoder, page: Encoded) -> NDArray[np.float32]:
    """The page's patch vectors where they belong: (rows, columns, dim)."""
    assert page.token_ids is not None
    assert page.grid is not None
    return page.embedding[patch_rows(running.loaded, page.token_ids, page.grid)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_changes_in_a_cell_of_the_page_changes_that_cell(
    family: str, size: tuple[int, int], start: Start
) -> None:
    running = start(family)
    (blank,) = running.embed_images(page_inputs([Image.new("RGB", size, "white")]))
    assert isinstance(blank, Encoded)
    assert blank.grid is not None
    columns, rows = blank.grid
    # Never on a diagonal: a map that is transposed or turned would miss them.
    cells = [(0, columns - 1), (rows - 1, 1), (rows // 2, columns // 4), (rows // 3, columns - 2)]
    pages = [with_cell(size, blank.grid, cell) for cell in cells]
    for cell, page in zip(cells, running.embed_images(page_inputs(pages)), strict=True):
        assert isinstance(page, Encoded)
        change = np.linalg.norm(arranged(running, page) - arranged(running, blank), axis=2)
        assert np.unravel_index(change.argmax(), change.shape) == cell


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_are_the_dot_products_of_tokens_with_patches(
    family: str, start: Start, images: list[Image.Image]
) -> None:
    running = start(family)
    page, query = page_inputs(images[:1])[0], TextInput("q", "total revenue of the year")
    found = running.heatmap(page, query)
    (seen,), (asked,) = running.embed_images([page]), running.embed_texts([query])
    patches = arranged(running, seen)
    assert found.maps.dtype == np.float32
    assert found.grid == seen.grid
    assert found.maps.shape == (len(asked.embedding), *patches.shape[:2])
    for token, map_ in zip(asked.embedding, found.maps, strict=True):
        np.testing.assert_allclose(map_, patches @ token, atol=1e-5)
    own = found.own_text()
    assert {token.kind for token in own.tokens} == {"text"}
    assert len(own.tokens) == len(own.maps) < len(found.tokens)


def test_pages_are_not_pooled_for_it(start: Start, images: list[Image.Image]) -> None:
    running = start("colpali", pool_factor=3)
    (page,) = page_inputs(images[:1])
    assert running.heatmap(page, TextInput("q", "red")).grid == (16, 16)
    (pooled,) = running.embed_images([page])
    (query,) = running.embed_texts([TextInput("q", "red")])
    with pytest.raises(EncodingError, match="expected one that is not pooled"):
        running.heatmapper(pooled, query, TextInput("q", "red"))


def test_what_is_bad_is_named(start: Start, images: list[Image.Image]) -> None:
    running = start("colpali")
    (page,) = page_inputs(images[:1])
    with pytest.raises(InvalidQueryError, match="query 'q': text is empty"):
        running.heatmap(page, TextInput("q", " "))
    with pytest.raises(InvalidPageError, match="page 'p': image is empty"):
        running.heatmap(ImageInput("p", b""), TextInput("q", "red"))


def test_a_page_with_fewer_vectors_than_its_grid_is_an_error(
    start: Start, images: list[Image.Image]
) -> None:
    running = start("colpali")
    (page,) = running.embed_images(page_inputs(images[:1]))
    with pytest.raises(EncodingError, match="256 image vectors, expected 17x16"):
        patch_rows(running.loaded, page.token_ids, (17, 16))


def test_maps_of_a_part_are_maps_of_the_page() -> None:
    maps = np.random.default_rng(0).random((2, 6, 4), dtype=np.float32)
    whole = over_the_page(maps, Box(0.2, 0.25, 1, 1))
    assert whole.shape == (2, 8, 5)
    np.testing.assert_array_equal(whole[:, 2:, 1:], maps)
    for found, map_ in zip(whole, maps, strict=True):
        assert (found[:2] == np.median(map_)).all()
        assert (found[:, :1] == np.median(map_)).all()


boxes = st.tuples(*[st.floats(0, 0.5)] * 2, *[st.floats(0.5, 1)] * 2).map(lambda ends: Box(*ends))


@given(boxes, st.integers(1, 60), st.integers(1, 60))
def test_a_patch_is_found_where_it_stands_on_the_page(box: Box, rows: int, columns: int) -> None:
    assume(box.right - box.left > 0.1 and box.bottom - box.top > 0.1)
    places = np.arange(rows * columns, dtype=np.float32).reshape(1, rows, columns)
    (whole,) = over_the_page(places + 1, box)
    down, across = whole.shape
    for row, column in ((0, 0), (down // 2, across // 2), (down - 1, across - 1)):
        y = ((row + 0.5) / down - box.top) / (box.bottom - box.top)
        x = ((column + 0.5) / across - box.left) / (box.right - box.left)
        inside = 0 <= x < 1 and 0 <= y < 1
        assume(all(abs(edge - round(edge)) > 1e-6 for edge in (x * columns, y * rows)))
        usual = np.median(places) + 1
        expected = places[0, int(y * rows), int(x * columns)] + 1 if inside else usual
        assert whole[row, column] == expected


@pytest.fixture(scope="module")
def tiny() -> Iterator[Encoder]:
    """The bundled checkpoint, which reads."""
    settings = EncoderSettings(device="cpu", dtype="float32", batch_patches=10_000)
    with Encoder.load(settings) as running:
        yield running


@pytest.mark.parametrize("margin", [0, 150])
@pytest.mark.parametrize("size", [(600, 800), (900, 500), (400, 1000)])
def test_a_word_lights_up_where_it_stands(
    size: tuple[int, int], margin: int, tiny: Encoder
) -> None:
    places = {word: (x * size[0] + margin, y * size[1]) for word, (x, y) in WORDS.items()}
    size = (size[0] + margin, size[1] + margin)
    page, font = Image.new("RGB", size, "white"), ImageFont.load_default(24)
    draw = ImageDraw.Draw(page)
    for word, place in places.items():
        draw.text(place, word, "black", font)
    for word, place in places.items():
        found = tiny.heatmap(ImageInput("p", png(page)), TextInput("q", word)).own_text()
        assert "".join(token.text for token in found.tokens) == word
        best = found.maps.max(axis=0)
        row, column = np.unravel_index(best.argmax(), best.shape)
        cell = np.array([column, row, column + 1, row + 1]) * np.tile(
            np.array(size) / found.grid, 2
        )
        box = draw.textbbox(place, word, font)
        assert cell[0] < box[2], word
        assert cell[1] < box[3], word
        assert cell[2] > box[0], word
        assert cell[3] > box[1], word
