"""Pages on disk, some hundred to a shard, drawn by several processes and read without copying."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from colpali_serve.training.pages.canvas import Word
from colpali_serve.training.pages.generator import SIDE, Page, PageMaker


@dataclass(frozen=True)
class Shard:
    """Some pages of one file.

    Attributes:
        pixels: uint8 (pages, 768, 768), mapped from the file.
        words: what is on each page.
        kinds: the layout of each page.
        documents: which document each page's text is from.
    """

    pixels: np.ndarray
    words: tuple[tuple[Word, ...], ...]
    kinds: tuple[str, ...]
    documents: tuple[int, ...]

    def pages(self) -> Iterator[Page]:
        """The pages one after another."""
        for number, words in enumerate(self.words):
            yield Page(self.pixels[number], words, self.kinds[number], self.documents[number])


def write(path: Path, maker: PageMaker, pages: int, done: Callable[[], None]) -> None:
    """Draw a shard. A shard that was interrupted leaves no file of that name.

    Args:
        path: ends in `.npy`; a `.json` with the words is written beside it.
        maker: draws the pages.
        pages: how many.
        done: called after each page.
    """
    partial = path.with_suffix(".part")
    pixels = np.lib.format.open_memmap(partial, "w+", np.uint8, (pages, SIDE, SIDE))
    records = []
    for number in range(pages):
        page = maker.page()
        pixels[number] = page.pixels
        boxes = [[*_rounded(word), word.text] for word in page.words]
        records.append({"kind": page.kind, "document": page.document, "words": boxes})
        done()
    pixels.flush()
    path.with_suffix(".json").write_text(json.dumps(records))
    partial.rename(path)


def _rounded(word: Word) -> tuple[float, ...]:
    return tuple(round(edge, 1) for edge in (word.left, word.top, word.right, word.bottom))


def read(path: Path) -> Shard:
    """A shard that :func:`write` made."""
    records = json.loads(path.with_suffix(".json").read_text())
    return Shard(
        np.load(path, mmap_mode="r"),
        tuple(tuple(Word(*word) for word in record["words"]) for record in records),
        tuple(record["kind"] for record in records),
        tuple(record["document"] for record in records),
    )
