"""Batches of parts of pages, with their labels and with queries about them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.learning import labels
from colpali_serve.training.learning.asked import Query, QueryMaker
from colpali_serve.training.learning.colours import coloured
from colpali_serve.training.learning.labels import Labels
from colpali_serve.training.model.architecture import GRID, PATCH
from colpali_serve.training.semantics.asker import Asker

# Pages of one document lie near each other: they are the rivals that are hard to tell apart. Of
# whole pages, the rest comes from anywhere.
_NEAR, _FROM_ANYWHERE = 8, 0.3
# Large print, where reading begins: height and letter width of its words, in pixels.
_LARGE_HEIGHT, _LARGE_LETTER = (12, 26), (7, 15)
# Among thousands of pages a window is found within some dozens; few pages may have none.
_WINDOW_TRIES = 20_000


@dataclass(frozen=True)
class Crops:
    """How a batch is cut: windows of `columns` x `rows` patches, `batch` of them.

    Attributes:
        columns: patches across.
        rows: patches down.
        batch: windows.
        queries: runs of words asked for in each.
        questions: questions asked about each whole page, in the page's words and in others.
    """

    columns: int
    rows: int
    batch: int
    queries: int
    questions: int = 0

    @property
    def whole(self) -> bool:
        """Whether a window is a whole page."""
        return self.columns == self.rows == GRID


@dataclass(frozen=True)
class Batch:
    """Crops of pages and queries about them. Patches are counted through the whole batch.

    Attributes:
        pixels: float32 (crops, 3, height, width) in -1..1.
        places: int64 (crops, patches): raster index on the page.
        piece_patch: int64 (k,): a patch that shows a piece of a word,
        piece_instance: int64 (k,): which of the batch's pieces it shows,
        piece_share: float32 (k,): and by how much.
        pieces: int64 (pieces,): token id of each piece in the batch.
        letter_patch: int64 (m,), as above for letters,
        letter: int64 (m,),
        letter_share: float32 (m,).
        query_ids: int64 (queries, length).
        query_mask: bool (queries, length), true for real tokens.
        query_instance: int64 (queries, length): the piece that a token was taken from,
            `asked.NOT_TEXT` or `asked.NOT_FROM_PAGE`.
        query_crop: int64 (queries,): the crop that a query is about.
    """

    pixels: Tensor
    places: Tensor
    piece_patch: Tensor
    piece_instance: Tensor
    piece_share: Tensor
    pieces: Tensor
    letter_patch: Tensor
    letter: Tensor
    letter_share: Tensor
    query_ids: Tensor
    query_mask: Tensor
    query_instance: Tensor
    query_crop: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True)
class Labelled:
    """A page for training.

    Attributes:
        pixels: uint8 (768, 768), grey.
        labels: what its patches show.
        text: its words in reading order, to ask questions about; empty if none are to be asked.
    """

    pixels: np.ndarray
    labels: Labels
    text: tuple[str, ...] = ()


@dataclass
class _Parts:
    """What is gathered over the crops of a batch."""

    arrays: dict[str, list[np.ndarray]] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)
    instances: int = 0

    def add(self, **arrays: np.ndarray) -> None:
        for name, array in arrays.items():
            self.arrays.setdefault(name, []).append(array)


class CropMaker:
    """Cuts batches out of pages. A batch depends on its seed alone.

    Args:
        pages: what is cut.
        tokenizer: gives pads and punctuation.
        asker: asks questions about pages that have a text.

    Raises:
        ConfigError: no page has two words.
    """

    def __init__(
        self,
        pages: Sequence[Labelled],
        tokenizer: PreTrainedTokenizerFast,
        asker: Asker | None = None,
    ) -> None:
        self._pages = [page for page in pages if len(page.labels.words) >= 2]
        if not self._pages:
            raise ConfigError(f"{len(pages)} pages: none has two words, expected some")
        self._queries = QueryMaker(tokenizer, asker)

    def batch(self, crops: Crops, seed: int, large_print: float = 0.0) -> Batch:
        """Cut one batch.

        Args:
            crops: how.
            seed: of every choice.
            large_print: share of crops that must show large letters only.

        Raises:
            ConfigError: the pages have no such window.
        """
        rng, noise = random.Random(seed), np.random.default_rng(seed)
        height, width = crops.rows * PATCH, crops.columns * PATCH
        pixels = np.zeros((crops.batch, 3, height, width), np.float32)
        places = np.zeros((crops.batch, crops.rows * crops.columns), np.int64)
        parts = _Parts()
        number: int | None = None
        for crop in range(crops.batch):
            if not crops.whole or rng.random() < _FROM_ANYWHERE:
                number = None
            large = rng.random() < large_print
            number, left, top, inside = self._window(rng, crops, large, number)
            page = self._pages[number]
            grey = page.pixels[
                top * PATCH : (top + crops.rows) * PATCH,
                left * PATCH : (left + crops.columns) * PATCH,
            ]
            pixels[crop] = coloured(rng, noise, grey)
            row, column = np.mgrid[top : top + crops.rows, left : left + crops.columns]
            places[crop] = (row * GRID + column).ravel()
            base = parts.instances
            _label(parts, crops, crop, page.labels, (left, top))
            parts.queries += self._queries.runs(rng, crops.queries, crop, page.labels, inside, base)
            if crops.whole and page.text:
                parts.queries += self._queries.questions(rng, crops.questions, crop, page.text)
        # Losses that take the first queries of a batch only are to meet those of every crop.
        rng.shuffle(parts.queries)
        return Batch(
            pixels=torch.from_numpy(pixels),
            places=torch.from_numpy(places),
            **{name: torch.from_numpy(np.concatenate(part)) for name, part in parts.arrays.items()},
            **self._queries.tensors(parts.queries),
        )

    def _window(
        self, rng: random.Random, crops: Crops, large: bool, beside: int | None
    ) -> tuple[int, int, int, np.ndarray]:
        """A page's number, and the window of three random ones that holds most words.

        Args:
            rng: where the choices come from.
            crops: the window's size.
            large: whether it must show large letters only.
            beside: a page that the first one tried is to lie near.

        Raises:
            ConfigError: no window with enough words was found.
        """
        for _ in range(_WINDOW_TRIES):
            if beside is None:
                number = rng.randrange(len(self._pages))
            else:
                number, beside = (beside + rng.randint(1, _NEAR)) % len(self._pages), None
            page = self._pages[number]
            best: tuple[int, int, int, np.ndarray] | None = None
            for _ in range(3 if crops.columns < GRID else 1):
                left, top = rng.randint(0, GRID - crops.columns), rng.randint(0, GRID - crops.rows)
                box = page.labels.words
                inside = (box[:, 0] >= left * PATCH) & (box[:, 2] <= (left + crops.columns) * PATCH)
                inside &= box[:, 1] >= top * PATCH - 1
                inside &= box[:, 3] <= (top + crops.rows) * PATCH + 1
                count = int(inside.sum())
                if best is None or count > best[0]:
                    best = (count, left, top, inside)
            assert best
            count, left, top, inside = best
            if count >= 2 and not (large and not _is_large(page.labels, inside)):
                return number, left, top, inside
        kind = "6 words in large print" if large else "2 words"
        raise ConfigError(
            f"{len(self._pages)} pages: no window of {crops.columns} x {crops.rows} patches with "
            f"{kind} was found, expected some"
        )


def _label(parts: _Parts, crops: Crops, crop: int, page: Labels, corner: tuple[int, int]) -> None:
    """Add what the patches of a crop show; `corner` is its left and top patch on the page."""
    grid = (crops.columns, crops.rows)
    first = crop * crops.columns * crops.rows
    origin = np.array([*corner, *corner], np.float32) * PATCH
    patch, which, share = labels.shown(page.piece_boxes - origin, *grid, 0.3, 0.4)
    parts.add(piece_patch=first + patch, piece_instance=parts.instances + which, piece_share=share)
    parts.add(pieces=page.pieces)
    parts.instances += len(page.pieces)
    patch, which, share = labels.shown(page.letter_boxes - origin, *grid, 0.4, 0.4)
    parts.add(letter_patch=first + patch, letter=page.letters[which], letter_share=share)


def _is_large(page: Labels, inside: np.ndarray) -> bool:
    boxes = page.words[inside]
    height = float((boxes[:, 3] - boxes[:, 1]).mean())
    letter = float(page.letter_widths[inside].mean())
    low, high = _LARGE_HEIGHT
    narrow, wide = _LARGE_LETTER
    return len(boxes) >= 6 and low <= height <= high and narrow <= letter <= wide
