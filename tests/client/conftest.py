"""A service for the client to talk to, started by the command line that ships."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colpali_serve.client import ColPaliClient
from tests.service import free_port

FAKE_FLOW = Path(__file__).parent / "fake.yml"
CLI = [sys.executable, "-m", "colpali_serve.client.cli"]
START_TIMEOUT_S = 120


@contextmanager
def serving(port: int, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `colpali-serve serve` with the fake Flow; it may still be starting."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*CLI, "serve", str(FAKE_FLOW), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with process:
            process.wait(60)


def members(group: int) -> list[int]:
    """Processes of a process group that are alive."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended since
            if int(pgrp) == group and state != "Z":
                found.append(int(folder.name))
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="package")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of the fake service."""
    number = free_port()
    log = tmp_path_factory.mktemp("service") / "log"
    with serving(number, log) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith(f"ready on grpc://0.0.0.0:{number}"), log.read_text()
        yield number


@pytest.fixture
def client(port: int) -> ColPaliClient:
    return ColPaliClient("localhost", port, retries=2, backoff_s=0.01)


@pytest.fixture
def make_page() -> Callable[..., Image.Image]:
    """Makes a page of one colour."""

    def make(red: int, green: int = 0, blue: int = 0) -> Image.Image:
        return Image.new("RGB", (12, 16), (red, green, blue))

    return make


@pytest.fixture
def make_pdf(tmp_path: Path, make_page: Callable[..., Image.Image]) -> Callable[..., Path]:
    """Writes a PDF whose pages have the given shades of red."""

    def make(name: str, *shades: int) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        first, *others = (make_page(shade) for shade in shades)
        first.save(path, save_all=True, append_images=others, resolution=72, quality=100)
        return path

    return make


def shade(embedding: np.ndarray | None) -> int:
    """The red of a page that came back embedded."""
    assert embedding is not None
    return round(float(embedding[0, 0]) * 255)


def environment_of_a_terminal() -> dict[str, str]:
    return {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
