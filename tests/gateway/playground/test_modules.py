"""The playground's arithmetic, against the same in Python."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from colpali_serve.client import overlay
from colpali_serve.engine.maxsim import maxsim


def packed(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    data = base64.b64encode(array.tobytes()).decode()
    return {"data": data, "dtype": str(array.dtype), "shape": list(array.shape)}


def test_every_float16_is_read_as_it_is(page: Page) -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(256, 256)
    script = """
    async (given) => {
      const { numbers, unpack } = await import("/arrays.js");
      return [...numbers(unpack(given))].map((value) => [String(value), Object.is(value, -0)]);
    }
    """
    found = page.evaluate(script, packed(every))
    read = np.array([np.nan if text == "NaN" else float(text) for text, _ in found])
    np.testing.assert_array_equal(read, every.reshape(-1).astype(np.float64))
    assert [index for index, (_, negative) in enumerate(found) if negative] == [0x8000]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_scores_are_the_engines(dtype: str, page: Page) -> None:
    rng = np.random.default_rng(3)
    query, *pages = (rng.normal(size=(rows, 24)).astype(dtype) / 5 for rows in (7, 40, 1, 113))
    pages[1] = -np.abs(pages[1])
    script = """
    async ([query, pages]) => {
      const { forget, keep, scores } = await import("/ranking.js");
      await Promise.all(pages.map((page, index) => keep(`p${index}`, page)));
      const keys = pages.map((_, index) => `p${index}`);
      const found = await scores(query, [...keys, "unknown"]);
      await forget("p0");
      return [found.map(String), String((await scores(query, ["p0"]))[0])];
    }
    """
    found, gone = page.evaluate(script, [packed(query), [packed(one) for one in pages]])
    expected = maxsim([query], pages)[0]
    np.testing.assert_allclose([float(text) for text in found[:3]], expected, rtol=1e-5)
    assert (found[3], gone) == ("NaN", "NaN")


def test_what_is_no_embedding_is_refused(page: Page) -> None:
    script = """
    async (given) => {
      const { keep } = await import("/ranking.js");
      return keep("x", given).then(() => "kept", (error) => error.message);
    }
    """
    good = packed(np.ones((2, 3), np.float16))
    assert page.evaluate(script, good) == "kept"
    for bad in ({**good, "shape": [2, 4]}, {**good, "dtype": "int8"}):
        assert "cannot read" in page.evaluate(script, bad)


def test_heat_is_the_one_that_the_service_draws(page: Page) -> None:
    maps = np.random.default_rng(5).normal(size=(3, 4, 5)).astype(np.float32)
    script = """
    async (maps) => {
      const { heat, warmest } = await import("/heat.js");
      const found = heat(maps);
      return [found.map((map) => [...map]), [...warmest(found)]];
    }
    """
    found, best = page.evaluate(script, maps.tolist())
    expected = overlay.heat(maps)
    np.testing.assert_allclose(np.reshape(found, maps.shape), expected, atol=1e-6)
    np.testing.assert_allclose(np.reshape(best, maps.shape[1:]), expected.max(axis=0), atol=1e-6)


def test_colours_are_those_that_the_service_draws(page: Page) -> None:
    script = """
    async () => {
      const { paintRamp } = await import("/heat.js");
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [11, 1];
      paintRamp(canvas);
      return [...canvas.getContext("2d").getImageData(0, 0, 11, 1).data];
    }
    """
    ramp = np.reshape(page.evaluate(script), (11, 4)).astype(np.float64)
    opacity = ramp[:, 3:] / 255
    white = ramp[:, :3] * opacity + 255 * (1 - opacity)
    warmth = np.linspace(0, 1, 11, dtype=np.float32)[None]
    drawn = overlay.draw(overlay.Image.new("RGB", (11, 1), "white"), warmth)
    np.testing.assert_allclose(white, np.asarray(drawn)[0], atol=4)
