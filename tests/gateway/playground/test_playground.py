"""The playground as people use it, in a real browser, on the real service."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from colpali_serve.client import ColPaliClient
from tests.conftest import ROOT
from tests.gateway.playground import using
from tests.gateway.playground.conftest import Service, Watch

PAGES = ROOT / "examples" / "pages"
QUERY = "How do I recover data from damaged files?"
WORDS = {"telescope": (0.55, 0.15), "invoice": (0.1, 0.75)}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A page with two words."""
    return using.words_page(tmp_path / "words.png", WORDS, (600, 800))


def test_dropped_files_are_shown_and_ranked_as_the_service_ranks_them(
    page: Page, service: Service
) -> None:
    files = [PAGES / "simh-faq.pdf", PAGES / "bzip2-manual.pdf"]
    using.drop(page, *files)
    using.wait_for_pages(page, 6)
    for image in page.locator("#pages img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("(image) => image.naturalWidth") > 100
    using.search(page, QUERY)
    shown = using.ranking(page)
    [expected] = ColPaliClient("localhost", service.port).rank(QUERY, files)
    assert using.names(shown) == [entry.id.replace("#", " p. ") for entry in expected]
    scores = [entry.score for entry in expected]
    np.testing.assert_allclose([score for _, score in shown], scores, atol=0.02)
    assert shown[0][0] == "bzip2-manual.pdf p. 2"


def test_a_word_lights_up_where_it_stands(page: Page, words: Path) -> None:
    using.drop(page, words)
    using.wait_for_pages(page, 1)
    for word, (x, y) in WORDS.items():
        using.search(page, word)
        using.open_first(page)
        heat = using.opacity(page)
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert x - 0.02 < column / heat.shape[1] < x + 0.25
        assert y - 0.02 < row / heat.shape[0] < y + 0.06
        page.locator("#tokens label").nth(1).hover()
        expect(page.locator("#heat")).to_have_attribute("data-token", "0")
        page.locator("#viewer-score").hover()
        expect(page.locator("#heat")).to_have_attribute("data-token", "-1")
        page.keyboard.press("Escape")


def test_everything_works_by_keyboard(page: Page) -> None:
    def focus() -> str:
        return str(page.evaluate("document.activeElement.id || document.activeElement.className"))

    page.keyboard.press("Tab")
    assert focus() == "files"
    page.keyboard.press("Tab")
    assert focus() == "examples"
    page.keyboard.press("Enter")
    using.wait_for_pages(page, 5)
    page.keyboard.press("Tab")
    assert focus() == "query"
    page.keyboard.type("lemon cake")
    page.keyboard.press("Enter")
    expect(page.locator(".first .name")).to_have_text("recipe.png")
    page.locator("#pages button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#tokens input").first).to_be_focused()
    heats = [using.opacity(page)]
    for index in range(2):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#heat")).to_have_attribute("data-token", str(index))
        heats.append(using.opacity(page))
    assert all((one != other).any() for one, other in pairwise(heats))
    expect(page.locator("#token-text")).to_contain_text("best similarity on this page 0.")
    page.keyboard.press("PageDown")
    expect(page.locator("#viewer-score")).to_contain_text("Rank 2 of 5")
    expect(page.locator("#tokens input").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    assert focus() == "card"


def test_problems_are_said_in_words(page: Page, watch: Watch, words: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no page")
    using.drop(page, tmp_path / "broken.png", tmp_path / "notes.txt")
    problems = page.locator("#messages > div")
    expect(problems).to_have_count(2)
    texts = " ".join(problems.all_inner_texts())
    assert "notes.txt is no PDF and no image" in texts
    assert "Page 'broken.png': image is of no known format" in texts
    expect(page.locator("#status")).to_have_text("No pages were embedded.")
    problems.first.get_by_role("button").click()
    expect(problems).to_have_count(1)

    using.drop(page, words)
    using.wait_for_pages(page, 1)
    watch.expected += ["net::ERR_INTERNET_DISCONNECTED"]
    page.context.set_offline(True)
    page.fill("#query", "anything")
    page.keyboard.press("Enter")
    expect(problems.last).to_contain_text("The service cannot be reached. Is it still running?")


def test_cancelling_keeps_what_is_there(page: Page, words: Path) -> None:
    using.drop(page, PAGES / "simh-faq.pdf", PAGES / "bzip2-manual.pdf")
    expect(page.locator("#progress-text")).to_contain_text("of 2 files")
    page.click("#cancel")
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("Cancelled")
    using.drop(page, words)
    expect(page.locator("#status")).to_contain_text("1 page embedded")
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#pages > li")).to_have_count(0)
    expect(page.locator("#query")).to_be_disabled()


def test_a_key_is_asked_for_and_kept_in_memory_only(page: Page, watch: Watch, words: Path) -> None:
    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer secret":
            route.continue_()
        else:
            error = {"type": "AuthenticationError", "message": "no key", "item": None}
            route.fulfill(status=401, json={"error": error})

    watch.expected += ["401 (Unauthorized)"]
    page.route("**/embed_images", guard)
    using.drop(page, words)
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#messages")).to_contain_text("The service does not know this API key.")
    page.fill("#key", "secret")
    page.keyboard.press("Enter")
    using.wait_for_pages(page, 1)
    expect(page.locator("#key-form")).to_be_hidden()
    kept = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
    assert kept == [0, 0, ""]


_CONTRAST = """
(selector) => {
  const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
    const share = part / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const light = (colour) => {
    const [red, green, blue] = parts(colour);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const element = document.querySelector(selector);
  const ground = (one) => getComputedStyle(one).backgroundColor;
  let below = element;
  while (ground(below) === "rgba(0, 0, 0, 0)") below = below.parentElement;
  const [dark, bright] = [
    light(getComputedStyle(element).color),
    light(ground(below)),
  ].sort((left, right) => left - right);
  return (bright + 0.05) / (dark + 0.05);
}
"""
_TEXTS = ("h1", ".top p", ".primary", "#examples", "#status", ".name", ".score", ".first b", "a")


def test_it_can_be_read_and_nothing_sticks_out(page: Page, words: Path) -> None:
    other = words.with_name("a-name-that-is-too-long-for-its-place.png")
    other.write_bytes(words.read_bytes())
    using.drop(page, words, other)
    using.wait_for_pages(page, 2)
    using.search(page, "invoice")
    grounds = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for text in _TEXTS:
            assert page.evaluate(_CONTRAST, text) >= 4.5, (scheme, text)
    assert len(grounds) == 2
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 740})
        assert using.overflow(page) <= 0
        using.open_first(page)
        assert using.overflow(page) <= 0
        for part in ("#sheet", "#tokens", "#close"):
            box = page.locator(part).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        page.keyboard.press("Escape")
