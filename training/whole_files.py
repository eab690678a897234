"""Files that are either complete or not there, whatever interrupts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Let a file be written beside `path`, and give it that name once it is complete.

    Args:
        path: What it shall be called; replaced if it is there. Its folder is made.

    Yields:
        Where to write. After an error it is left as it is, and overwritten the next time.
    """
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    yield unfinished
    unfinished.replace(path)
