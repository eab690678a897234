"""Renderers are processes that may hang, die and be left in the middle of a file."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from colpali_serve.gateway.http import rendering
from colpali_serve.gateway.http.rendering import Rendered, Rendering
from colpali_serve.gateway.settings import GatewaySettings
from tests.gateway.http.sending import page, pdf, tiff


def with_rendering(
    work: Callable[[Rendering], Awaitable[Any]], **settings: Any
) -> tuple[Any, list[int]]:
    """What `work` gives, and the processes that are left behind."""

    async def main() -> Any:
        ours = Rendering(GatewaySettings(**settings))
        try:
            return await work(ours)
        finally:
            await ours.close()

    before = set(children())
    found = asyncio.run(main())
    return found, sorted(set(children()) - before)


def children() -> list[int]:
    found = []
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that ended meanwhile
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


async def all_of(ours: Rendering, content: bytes, **options: Any) -> list[Rendered]:
    return [rendered async for rendered in ours.pages(content, "a.pdf", 72, **options)]


def test_pages_and_thumbnails() -> None:
    async def work(ours: Rendering) -> tuple[list[Rendered], list[int]]:
        first = await all_of(ours, pdf(3), thumbnails=True)
        running = children()
        await all_of(ours, pdf(1))
        assert children() == running  # the same process again
        return first, running

    (pages, _), left = with_rendering(work)
    assert [rendered.number for rendered in pages] == [1, 2, 3]
    for rendered in pages:
        assert rendered.error is None and rendered.image
        assert Image.open(io.BytesIO(rendered.image)).format == "PNG"
        small = Image.open(io.BytesIO(rendered.thumbnail))
        assert small.format == "JPEG" and max(small.size) <= 320
    assert left == []


def test_a_renderer_that_was_left_in_the_middle_answers_nobody_else() -> None:
    async def work(ours: Rendering) -> list[Rendered]:
        async for _ in ours.pages(pdf(5), "a.pdf", 72):
            break
        await asyncio.sleep(0)
        return await all_of(ours, pdf(1))

    pages, left = with_rendering(work)
    assert [rendered.number for rendered in pages] == [1]
    assert left == []


def test_a_renderer_that_dies_while_it_is_idle_is_replaced() -> None:
    async def work(ours: Rendering) -> list[Rendered]:
        before = set(children())
        await all_of(ours, pdf(1))
        [renderer] = set(children()) - before
        os.kill(renderer, signal.SIGKILL)
        await asyncio.sleep(0.1)
        return await all_of(ours, pdf(2))

    pages, left = with_rendering(work)
    assert [rendered.error for rendered in pages] == [None, None]
    assert left == []


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import time; time.sleep(60)", "takes longer than 0.2 s"),
        ("raise SystemExit(1)", "cannot be rendered"),
        ("import os; os.kill(os.getpid(), 11)", "cannot be rendered"),
    ],
)
def test_renderers_that_hang_or_die(monkeypatch: pytest.MonkeyPatch, code: str, why: str) -> None:
    # The command is the renderer here, not what it does: no file is known to hang PDFium for ever.
    python = rendering._COMMAND[0]
    monkeypatch.setattr(rendering, "_COMMAND", (python, "-c", code))
    monkeypatch.setattr(rendering, "_START_LIMIT_S", 0.0)
    pages, left = with_rendering(lambda ours: all_of(ours, pdf(1)), pdf_time_limit_s=0.2)
    [rendered] = pages
    assert rendered.image is None
    assert rendered.error is not None and why in rendered.error.message
    assert left == []


def test_thumbnails_of_what_is_no_image_are_empty() -> None:
    async def work(ours: Rendering) -> list[bytes]:
        return [await ours.thumbnail(content, "a") for content in (b"", b"nothing", page())]

    (empty, nothing, small), _ = with_rendering(work)
    assert empty == nothing == b""
    assert small.startswith(b"\xff\xd8")


def test_pages_of_a_tiff() -> None:
    fax = tiff(3)

    async def work(ours: Rendering) -> list[list[Rendered]]:
        return [
            await all_of(ours, fax, thumbnails=True),
            await all_of(ours, fax, only=2),
            await all_of(ours, tiff(1)),
            await all_of(ours, tiff(1), only=2),
            await all_of(ours, fax[:-200]),
        ]

    (several, second, one, missing, cut), _ = with_rendering(work)
    assert [page.name for page in several] == ["a.pdf#1", "a.pdf#2", "a.pdf#3"]
    assert all(page.image and page.thumbnail for page in several)
    assert [(page.name, page.image) for page in second] == [("a.pdf#2", several[1].image)]
    assert [page.name for page in one] == ["a.pdf"]
    assert "page 2 is wanted, expected 1 to 1" in missing[0].error.message
    assert any(page.error is not None for page in cut)


def test_limits_of_pages_and_pixels() -> None:
    pages, _ = with_rendering(lambda ours: all_of(ours, pdf(3)), max_pdf_pages=2)
    assert "the PDF has 3 pages" in pages[0].error.message
    pages, _ = with_rendering(lambda ours: all_of(ours, pdf(2)), max_pixels=10)
    assert all("pixels" in rendered.error.message for rendered in pages)
    pages, _ = with_rendering(lambda ours: all_of(ours, tiff(3)), max_pdf_pages=2)
    assert [page.error.message for page in pages] == ["page 'a.pdf': 3 pages, expected at most 2"]
    pages, _ = with_rendering(lambda ours: all_of(ours, tiff(2)), max_pixels=10)
    assert all("80x60, expected at most 10" in rendered.error.message for rendered in pages)


def test_a_renderer_knows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLPALI_API_KEYS", "ci:0123456789abcdef")

    async def work(ours: Rendering) -> bytes:
        before = set(children())
        await all_of(ours, pdf(1))
        [renderer] = set(children()) - before
        return Path(f"/proc/{renderer}/environ").read_bytes()

    environ, _ = with_rendering(work)
    assert b"PATH=" in environ and b"COLPALI" not in environ


def test_a_renderer_ends_with_whoever_started_it(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, sys, time\n"
        "from colpali_serve.gateway.http.rendering import _Renderer\n"
        "async def main():\n"
        "    renderer = await _Renderer.start()\n"
        "    print(renderer._process.pid, flush=True)\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    end = time.monotonic() + 20
    while lives(int(done.stdout)):
        assert time.monotonic() < end
        time.sleep(0.1)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
