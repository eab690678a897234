"""Pages of untrusted files, rendered in a process of its own: ``python -m ...client.renderer``.

It reads jobs from its standard input and writes what comes of them to its standard output, each a
line of JSON and the bytes that it announces. Whoever started it may end it at any time.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from colpali_serve.client import overlay
from colpali_serve.client.images import check_pixels, open_encoded, refuse
from colpali_serve.client.reading import Reading, Source
from colpali_serve.client.sources import iter_content
from colpali_serve.schemas import InvalidPageError

_MEMORY_BYTES = 3 * 1024**3
"""What a file may take beside what the process has when it starts."""


def main() -> None:
    """Work until the standard input ends."""
    jobs = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints must not get between the answers.
    os.dup2(2, 1)
    _limit()
    while line := jobs.readline():
        job = json.loads(line)
        content = jobs.read(job["size"])
        try:
            _work(job, content, answers)
        except InvalidPageError as error:
            _answer(answers, {"kind": "error", "message": error.message, "item": error.item})
        except MemoryError:
            text = refuse(job["name"], "it takes too much memory", "a simpler file").message
            _answer(answers, {"kind": "error", "message": text, "item": job["name"]})
        _answer(answers, {"kind": "end"})


def _work(job: dict[str, Any], content: bytes, answers: BinaryIO) -> None:
    if job["do"] == "thumbnail":
        _answer(answers, {"kind": "page"}, b"", _thumbnail(content, job))
        return
    if job["do"] == "overlay":
        _answer(answers, {"kind": "page"}, _overlay(content, job))
        return
    reading = Reading(job["dpi"], job["max_pages"], job["max_pixels"])
    sources = iter_content(content, job["name"], reading)
    for source in sources if job["only"] is None else _only(sources, job):
        try:
            image = source.load().image or b""
        except InvalidPageError as error:
            _answer(answers, {"kind": "error", "message": error.message, "item": source.id})
        else:
            small = _thumbnail(image, job) if job["side"] else b""
            _answer(answers, {"kind": "page", "item": source.id}, image, small)


def _only(sources: Iterator[Source], job: dict[str, Any]) -> Iterator[Source]:
    """One page of a file; what is passed over is not rendered."""
    count = 0
    for count, source in enumerate(sources, 1):
        if count == job["only"]:
            yield source
            return
        if source.id == job["name"]:
            # A file that cannot be opened is one source of the file's own name, with its error.
            source.load()
    raise refuse(job["name"], f"page {job['only']} is wanted", f"1 to {count}")


def _overlay(content: bytes, job: dict[str, Any]) -> bytes:
    name = job["name"]
    check_pixels(open_encoded(content, name), job["max_pixels"], name)
    page = overlay.open_page(content, name)
    return overlay.encode(overlay.draw(page, np.array(job["warmth"], np.float32)))


def _thumbnail(content: bytes, job: dict[str, Any]) -> bytes:
    name = job["name"]
    image = open_encoded(content, name)
    check_pixels(image, job["max_pixels"], name)
    try:
        # JPEG decodes to a small size at once.
        image.draft("RGB", (job["side"], job["side"]))
        image.thumbnail((job["side"], job["side"]))
        with io.BytesIO() as file:
            _on_paper(image).save(file, "JPEG", quality=80)
            return file.getvalue()
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise refuse(name, f"image cannot be decoded ({error})", "a complete image") from error


def _on_paper(image: Image.Image) -> Image.Image:
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    paper.alpha_composite(layer)
    return paper.convert("RGB")


def _answer(
    answers: BinaryIO, head: dict[str, Any], image: bytes = b"", thumbnail: bytes = b""
) -> None:
    sizes = {"size": len(image), "thumbnail_size": len(thumbnail)}
    answers.write(json.dumps(head | sizes).encode() + b"\n" + image + thumbnail)
    answers.flush()


def _limit() -> None:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (no file of ours)
        pages = int(file.read().split()[0])
    most = pages * resource.getpagesize() + _MEMORY_BYTES
    # A machine may have set less already.
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
