"""Files that are either complete or not there, whatever interrupts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Let a file be written beside `path`, and give it that name once it is complete.

    Args:
        path: What it shall be called; replaced if it is there. Its folder is made.

    Yields:
        Where to write. After an error nothing is left of it.
    """
    # Two processes may write the same: each has its own, and the last to be done stays.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
