"""The service that ships, and a real browser to use it with."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.conftest import ROOT
from tests.service import free_port, running

# Quiet: nothing but what the test asks for shall leave the machine, or be left on it.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)
TIMEOUT_MS = 60_000

expect.set_options(timeout=TIMEOUT_MS)


class Service(NamedTuple):
    """Where the two doors are."""

    port: int
    address: str


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """flows/rank.yml with the bundled checkpoint."""
    folder = tmp_path_factory.mktemp("playground")
    port, http_port = free_port(), free_port()
    flow = folder / "rank.yml"
    text = (ROOT / "flows" / "rank.yml").read_text()
    assert "[54321, 8080]" in text
    flow.write_text(text.replace("[54321, 8080]", f"[{port}, {http_port}]"))
    command = [sys.executable, "-m", "colpali_serve.client.cli", "serve", str(flow)]
    with running([*command, "--port", str(port)], port, folder / "log", {"COLPALI_DEVICE": "cpu"}):
        yield Service(port, f"http://127.0.0.1:{http_port}")


@pytest.fixture
def address(service: Service) -> str:
    """Where the playground is."""
    return service.address


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, as Debian packages it."""
    if CHROMIUM is None:
        pytest.skip("no chromium here (apt-get install chromium, or name one in CHROMIUM)")
    with sync_playwright() as driver:
        running_browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield running_browser
        running_browser.close()


class Watch:
    """Notes what the playground should not do: complain in the console, or ask another server.

    Args:
        address: Of the service.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        # What Chromium says to tests that look at a canvas.
        self.expected = ["willReadFrequently"]
        self.found: list[str] = []

    def follow(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"uncaught: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        expected = any(text in message.text for text in self.expected)
        if message.type in ("error", "warning") and not expected:
            self.found.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self._address}/", "data:", "blob:")):
            self.found.append(f"request to {request.url}")


@pytest.fixture
def watch(address: str) -> Iterator[Watch]:
    """What the page did wrong; a test may say what it expects."""
    watching = Watch(address)
    yield watching
    assert watching.found == []


@pytest.fixture
def page(browser: Browser, address: str, watch: Watch) -> Iterator[Page]:
    """The playground, open in a tab of its own."""
    with browser.new_context() as context:
        context.set_default_timeout(TIMEOUT_MS)
        tab = context.new_page()
        watch.follow(tab)
        tab.goto(f"{address}/")
        yield tab
