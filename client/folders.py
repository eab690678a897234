"""Folders of pages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".pdf", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp")
_DIGITS = re.compile(r"(\d+)")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts ``page-2`` before ``page-10``, whatever the case.

    >>> sorted(["b1", "a10", "A2", "a1"], key=natural_key)
    ['a1', 'A2', 'a10', 'b1']
    """
    # The pieces alternate between text and number, so two keys never compare one with the other.
    pieces = _DIGITS.split(name.casefold())
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)], name


def walk(folder: Path) -> Iterator[Path]:
    """Yield the images and PDFs of a folder and of the folders inside, in natural order.

    Hidden files are left out, and links to folders are not followed: they may lead in circles.

    Raises:
        OSError: A folder cannot be read.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: natural_key(entry.name))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path))
        elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
            yield Path(entry.path)
