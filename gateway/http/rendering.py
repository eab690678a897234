"""Untrusted PDFs and images, handed to processes that may be ended at any time."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from colpali_serve.gateway.settings import GatewaySettings
from colpali_serve.schemas import InvalidPageError, owner

_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG")
"""All that a renderer gets to know: no key, no token."""
_COMMAND = (
    sys.executable,
    "-c",
    # docarray would import torch wherever it is installed, for nothing: seconds and megabytes.
    "import sys; sys.modules['torch'] = None; "
    "from colpali_serve.client.renderer import main; main()",
)
_START_LIMIT_S = 60.0
_THUMBNAIL_SIDE = 320
_LINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page of a file, or why there is none.

    Attributes:
        number: Of the page, from 1.
        name: Of the page, ``file#number``; of the file, where it has this page only.
        image: Encoded, or None.
        thumbnail: A small JPEG of it; empty where none was asked for.
        error: Instead of the image.
    """

    number: int
    name: str
    image: bytes | None
    thumbnail: bytes = b""
    error: InvalidPageError | None = None


class Rendering:
    """Starts renderers when they are first needed, keeps them, and ends those that hang.

    Args:
        settings: Time, pages and pixels that a file may take.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._free: list[_Renderer] = []
        self._places = asyncio.Semaphore(settings.pdf_workers)

    async def close(self) -> None:
        """End the renderers that are idle; the others end with their jobs."""
        while self._free:
            await self._free.pop().end()

    async def pages(
        self,
        content: bytes,
        name: str,
        dpi: int,
        thumbnails: bool = False,
        only: int | None = None,
    ) -> AsyncGenerator[Rendered, None]:
        """Render a PDF or a TIFF page by page, each when the one before it has been taken.

        Args:
            content: The file.
            name: For errors.
            dpi: Resolution.
            thumbnails: Whether to make them.
            only: Number of the one page that is wanted, from 1.

        Yields:
            A page, or its error; one error alone where the file cannot be read.
        """
        settings = self._settings
        job = {
            "do": "pages",
            "dpi": dpi,
            "side": _THUMBNAIL_SIDE if thumbnails else 0,
            "only": only,
            "max_pages": settings.max_pdf_pages,
            "max_pixels": settings.max_pixels,
        }
        async with aclosing(self._answers(job, content, name)) as answers:
            async for rendered in answers:
                yield rendered

    async def thumbnail(self, content: bytes, name: str, side: int = _THUMBNAIL_SIDE) -> bytes:
        """Return a small JPEG of an image; nothing where it cannot be read."""
        job = {"do": "thumbnail", "side": side, "max_pixels": self._settings.max_pixels}
        async with aclosing(self._answers(job, content, name)) as answers:
            found = [rendered.thumbnail async for rendered in answers]
        return found[0] if found else b""

    async def overlay(self, content: bytes, name: str, warmth: NDArray[np.float32]) -> bytes:
        """Return a PNG of an image, coloured where it is warm.

        Args:
            content: The image.
            name: For errors.
            warmth: float32 (rows, columns), from 0 to 1.

        Raises:
            InvalidPageError: It cannot be read.
        """
        job = {
            "do": "overlay",
            "warmth": warmth.round(4).tolist(),
            "max_pixels": self._settings.max_pixels,
        }
        async with aclosing(self._answers(job, content, name)) as answers:
            [drawn] = [rendered async for rendered in answers]
        if drawn.error is not None:
            raise drawn.error
        return drawn.image or b""

    async def _answers(
        self, job: dict[str, Any], content: bytes, name: str
    ) -> AsyncGenerator[Rendered, None]:
        number = 0
        async with self._renderer() as renderer:
            head = json.dumps({**job, "name": name, "size": len(content)}).encode()
            sending = asyncio.ensure_future(renderer.send(head + b"\n", content))
            try:
                while True:
                    answer, image, thumbnail = await self._next(renderer, name, number)
                    if answer["kind"] == "end":
                        return
                    number += 1
                    if answer["kind"] == "page":
                        yield Rendered(number, answer.get("item", name), image, thumbnail)
                    else:
                        error = InvalidPageError(answer["message"], answer["item"])
                        yield Rendered(number, f"{name}#{number}", None, error=error)
            except InvalidPageError as error:
                await renderer.end()
                yield Rendered(number + 1, f"{name}#{number + 1}", None, error=error)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _next(
        self, renderer: _Renderer, name: str, number: int
    ) -> tuple[dict[str, Any], bytes, bytes]:
        # The first answer of a new process waits for its imports as well.
        limit_s = self._settings.pdf_time_limit_s + (_START_LIMIT_S if renderer.fresh else 0.0)
        try:
            async with asyncio.timeout(limit_s):
                return await renderer.receive()
        except TimeoutError:
            found = f"takes longer than {self._settings.pdf_time_limit_s:g} s"
        except (asyncio.IncompleteReadError, ConnectionError):
            found = "cannot be rendered"
        message = f"{owner('page', f'{name}#{number + 1}')}: it {found}, expected a simpler file"
        raise InvalidPageError(message, name)

    @asynccontextmanager
    async def _renderer(self) -> AsyncIterator[_Renderer]:
        async with self._places:
            while self._free and not self._free[-1].lives:
                await self._free.pop().end()
            renderer = self._free.pop() if self._free else await _Renderer.start()
            done = False
            try:
                yield renderer
                done = not renderer.ended
            finally:
                # One that was left in the middle of a job would answer the next with its rest.
                if done:
                    self._free.append(renderer)
                else:
                    await renderer.end()


class _Renderer:
    """A process at the other end of a socket.

    Not asyncio's own: that needs a child watcher, which some event loops do not have.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self.ended = False
        self.fresh = True

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    @classmethod
    async def start(cls) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                _COMMAND,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            )
        try:
            reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_BYTES)
        except BaseException:
            process.kill()
            raise
        return cls(process, reader, writer)

    async def send(self, head: bytes, content: bytes) -> None:
        self._writer.write(head)
        self._writer.write(content)
        await self._writer.drain()

    async def receive(self) -> tuple[dict[str, Any], bytes, bytes]:
        head = json.loads(await self._reader.readuntil(b"\n"))
        self.fresh = False
        image = await self._reader.readexactly(head["size"])
        return head, image, await self._reader.readexactly(head["thumbnail_size"])

    async def end(self) -> None:
        self.ended = True
        self._process.kill()
        self._writer.close()
        # It is dead already; only its entry in the table of processes is left.
        await asyncio.shield(asyncio.to_thread(self._process.wait))
