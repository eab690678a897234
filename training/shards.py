"""Pages on disk, some hundred to a shard, drawn by several processes and read without copying."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from colpali_serve.training.pages.canvas import Word
from colpali_serve.training.pages.seeing import SIDE, Page
from colpali_serve.training.whole_files import whole


@dataclass(frozen=True)
class Shard:
    """Some pages of one file.

    Attributes:
        pixels: uint8 (at least pages, 768, 768), mapped from the file.
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


def write(path: Path, pages: Iterable[Page], most: int) -> int:
    """Write a shard. One that was interrupted leaves no file of that name.

    Args:
        path: ends in `.npy`; a `.json` with the words is written beside it.
        pages: taken one after another.
        most: room is made for this many; later ones are not taken.

    Returns:
        How many were written.
    """
    with whole(path) as unfinished:
        pixels = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (most, SIDE, SIDE))
        records = []
        for number, page in enumerate(islice(pages, most)):
            pixels[number] = page.pixels
            boxes = [[*_rounded(word), word.text] for word in page.words]
            records.append({"kind": page.kind, "document": page.document, "words": boxes})
        pixels.flush()
        path.with_suffix(".json").write_text(json.dumps(records))
    return len(records)


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
