"""Drawing a heatmap over its page."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from colpali_serve.client import overlay
from colpali_serve.schemas import InvalidInputError, InvalidPageError

MAPS = arrays(np.float32, (3, 4, 5), elements=st.floats(-1, 1, width=32))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


@settings(deadline=None)
@given(MAPS)
def test_heat_lies_between_cold_and_hot_and_keeps_the_order(maps: np.ndarray) -> None:
    found = overlay.heat(maps)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    for warmth, map_ in zip(found, maps, strict=True):
        order = np.argsort(map_, axis=None, kind="stable")
        assert (np.diff(warmth.reshape(-1)[order]) >= -1e-6).all()
        assert (warmth[map_ <= np.median(map_)] <= 1e-6).all()


def test_the_warmest_place_of_all_tokens_is_hot_and_others_are_pale_beside_it() -> None:
    maps = np.zeros((2, 3, 3), np.float32)
    maps[0, 0, 1], maps[1, 2, 2] = 0.8, 0.2
    found = overlay.heat(maps)
    assert found[0, 0, 1] == 1
    assert found[1, 2, 2] == pytest.approx(0.25)


def test_all_tokens_are_those_of_the_users_text() -> None:
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0, 0, 0] = maps[1, 1, 1] = 1
    own = np.array([True, False])
    assert overlay.chosen(maps, own, None).tolist() == [[1, 0], [0, 0]]
    assert overlay.chosen(maps, own, 1).tolist() == [[0, 0], [0, 1]]
    with pytest.raises(InvalidInputError, match="token is 2, expected 0 to 1"):
        overlay.chosen(maps, own, 2)
    with pytest.raises(InvalidInputError, match="no tokens of text"):
        overlay.chosen(maps, ~own & own, None)


def test_a_map_covers_the_whole_page_and_is_not_turned() -> None:
    warmth = np.zeros((2, 4), np.float32)
    warmth[0, 3] = 1
    page = Image.new("RGB", (200, 300), "white")
    drawn = np.asarray(overlay.draw(page, warmth), int)
    hot = (drawn != 255).any(axis=2)
    rows, columns = hot.nonzero()
    assert drawn.shape == (300, 200, 3)
    assert (rows.min(), columns.max()) == (0, 199)
    assert rows.mean() < 150
    assert columns.mean() > 150
    assert (drawn[225:, :100] == 255).all()


def test_print_below_stays_darker_than_paper() -> None:
    page = Image.new("RGB", (2, 1), "white")
    page.putpixel((0, 0), (0, 0, 0))
    drawn = np.asarray(overlay.draw(page, np.ones((1, 1), np.float32)), int)[0]
    assert drawn[0].sum() + 100 < drawn[1].sum()


def test_pages_are_opened_as_the_encoder_sees_them() -> None:
    deep = Image.fromarray(np.array([[0, 65535]], np.uint16))
    assert np.asarray(overlay.open_page(encoded(deep), "a")).tolist() == [[[0] * 3, [255] * 3]]
    clear = Image.new("RGBA", (1, 1), (0, 0, 0, 0))
    assert overlay.open_page(encoded(clear), "a").getpixel((0, 0)) == (255, 255, 255)
    turned = Image.new("RGB", (2, 5))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert overlay.open_page(encoded(turned, "JPEG", exif=exif), "a").size == (5, 2)


def test_what_cannot_be_decoded_is_refused() -> None:
    whole = encoded(Image.effect_noise((60, 60), 80))
    for data in (b"", b"nothing", whole[: len(whole) // 2]):
        with pytest.raises(InvalidPageError, match="page 'a'"):
            overlay.open_page(data, "a")


def test_a_drawn_page_is_a_png() -> None:
    data = overlay.encode(Image.new("RGB", (3, 4), "red"))
    assert Image.open(io.BytesIO(data)).format == "PNG"
