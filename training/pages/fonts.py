"""Fonts that can draw English, found in folders, loaded once."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont

# Symbol fonts, other scripts, swash and display cuts: they do not print a page of English.
_UNSUITABLE = re.compile(
    r"math|symbol|emoji|dingbat|chorus|variable|lmmi|lmsy|lmex|initial|keyboard|\[|"
    r"Noto(Sans|Serif)(?!-|Display-|Mono)|D050000L|unslanted|demi?condensed10u",
    re.IGNORECASE,
)
_KINDS = ("**/*.ttf", "**/*.otf")
_TELLING = "abcdefgxyzABR0159"


@dataclass(frozen=True)
class Fonts:
    """Paths of fonts: three pages in four use a common one.

    Attributes:
        common: what most documents are set in.
        rare: everything else.
    """

    common: tuple[Path, ...]
    rare: tuple[Path, ...]


@functools.lru_cache(maxsize=2000)
def load(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """The font at a size in pixels per em, laid out without ligatures."""
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=400_000)
def width(path: Path, size: int, text: str) -> float:
    """How far the pen moves for `text`, in pixels."""
    return float(load(path, size).getlength(text))


def _draws_english(path: Path) -> bool:
    try:
        font = load(path, 20)
        shapes = {bytes(font.getmask(character)) for character in _TELLING}
    except OSError:  # FreeType cannot read it
        return False
    return len(shapes) >= len(_TELLING) - 1 and font.getlength("abc") >= 5


def usable(folders: Iterable[Path]) -> tuple[Path, ...]:
    """The fonts below some folders that draw English, each file name once, in order of name."""
    found: dict[str, Path] = {}
    for folder in folders:
        for kind in _KINDS:
            for path in folder.glob(kind):
                if not _UNSUITABLE.search(path.name):
                    found.setdefault(path.name, path)
    return tuple(found[name] for name in sorted(found) if _draws_english(found[name]))
