"""What a person does with the playground, step by step."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page, expect

_DROP = """
(files) => {
  const transfer = new DataTransfer();
  for (const { name, data } of files) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
  document.body.dispatchEvent(new DragEvent("dragover", options));
  document.body.dispatchEvent(new DragEvent("drop", options));
}
"""

_HEAT = """
() => {
  const canvas = document.getElementById("heat");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.width, canvas.height, [...data].filter((_, index) => index % 4 === 3)];
}
"""


def drop(page: Page, *files: Path) -> None:
    """Drop files onto the window."""
    dropped = [
        {"name": file.name, "data": base64.b64encode(file.read_bytes()).decode()} for file in files
    ]
    page.evaluate(_DROP, dropped)


def wait_for_pages(page: Page, count: int) -> None:
    expect(page.locator("#pages > li")).to_have_count(count)
    expect(page.locator("#progress")).to_be_hidden()


def search(page: Page, query: str) -> None:
    """Type a query, press Enter and wait for the ranking."""
    page.fill("#query", query)
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text(f"“{query}”")


def ranking(page: Page) -> list[tuple[str, float]]:
    """Names as they are shown, with scores, from the top."""
    return [
        (
            " ".join(card.locator(".name, .number").all_inner_texts()).strip(),
            float(card.locator(".score > span:last-child").inner_text()),
        )
        for card in page.locator("#pages > li").all()
    ]


def open_first(page: Page) -> None:
    """Open the best page and wait for its heatmap."""
    page.locator("#pages button").first.click()
    expect(page.locator("#tokens")).to_be_visible()


def opacity(page: Page) -> np.ndarray[Any, Any]:
    """How strongly each place is coloured, (height, width), 0 to 255."""
    width, height, values = page.evaluate(_HEAT)
    return np.array(values).reshape(height, width)


def words_page(path: Path, words: dict[str, tuple[float, float]], size: tuple[int, int]) -> Path:
    """Draw words at fractions of a page's sides."""
    picture, font = Image.new("RGB", size, "white"), ImageFont.load_default(24)
    for word, (x, y) in words.items():
        ImageDraw.Draw(picture).text((x * size[0], y * size[1]), word, "black", font)
    picture.save(path)
    return path


def overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def names(texts: Sequence[tuple[str, float]]) -> list[str]:
    return [name for name, _ in texts]
