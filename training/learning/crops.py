"""Batches of parts of pages, with their labels and with queries about them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.learning import labels
from colpali_serve.training.learning.colours import coloured
from colpali_serve.training.learning.labels import Labels
from colpali_serve.training.model.architecture import GRID, PATCH

QUERY_PADS = 10
"""Pad tokens that ColPaliProcessor writes behind every query."""
_LONGEST_QUERY = 16
# Large print, where reading begins: height and letter width of its words, in pixels.
_LARGE_HEIGHT, _LARGE_LETTER = (12, 26), (7, 15)
# Among thousands of pages a window is found within some dozens; few pages may have none.
_WINDOW_TRIES = 20_000


@dataclass(frozen=True)
class Crops:
    """How a batch is cut: windows of `columns` x `rows` patches, `batch` of them."""

    columns: int
    rows: int
    batch: int
    queries: int


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
        query_instance: int64 (queries, length): the piece that a token was taken from, or -1.
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
    """A page for training: uint8 (768, 768) grey, and its labels."""

    pixels: np.ndarray
    labels: Labels


@dataclass
class _Parts:
    """What is gathered over the crops of a batch."""

    piece_patch: list[np.ndarray]
    piece_instance: list[np.ndarray]
    piece_share: list[np.ndarray]
    pieces: list[np.ndarray]
    letter_patch: list[np.ndarray]
    letter: list[np.ndarray]
    letter_share: list[np.ndarray]
    queries: list[tuple[int, list[int], list[int]]]
    instances: int = 0


class CropMaker:
    """Cuts batches out of pages. A batch depends on its seed alone.

    Args:
        pages: what is cut.
        tokenizer: gives pads and punctuation.

    Raises:
        ConfigError: no page has two words.
    """

    def __init__(self, pages: Sequence[Labelled], tokenizer: PreTrainedTokenizerFast) -> None:
        self._pages = [page for page in pages if len(page.labels.words) >= 2]
        if not self._pages:
            raise ConfigError(f"{len(pages)} pages: none has two words, expected some")
        self._pad, self._bos = int(tokenizer.pad_token_id), int(tokenizer.bos_token_id)
        self._marks = frozenset(
            number
            for piece, number in tokenizer.get_vocab().items()
            if not any(character.isalnum() for character in piece.removeprefix("##"))
        )

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
        parts = _Parts([], [], [], [], [], [], [], [])
        for crop in range(crops.batch):
            page, left, top, inside = self._window(rng, crops, rng.random() < large_print)
            grey = page.pixels[
                top * PATCH : (top + crops.rows) * PATCH,
                left * PATCH : (left + crops.columns) * PATCH,
            ]
            pixels[crop] = coloured(rng, noise, grey)
            row, column = np.mgrid[top : top + crops.rows, left : left + crops.columns]
            places[crop] = (row * GRID + column).ravel()
            self._label(parts, crops, crop, page.labels, (left, top))
            self._ask(rng, parts, crops.queries, crop, page.labels, inside)
        # Losses that take the first queries of a batch only are to meet those of every crop.
        rng.shuffle(parts.queries)
        return self._joined(parts, pixels, places)

    def _window(
        self, rng: random.Random, crops: Crops, large: bool
    ) -> tuple[Labelled, int, int, np.ndarray]:
        """A page and the window of three random ones that holds most words.

        Raises:
            ConfigError: no window with enough words was found.
        """
        for _ in range(_WINDOW_TRIES):
            page = rng.choice(self._pages)
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
                return page, left, top, inside
        kind = "6 words in large print" if large else "2 words"
        raise ConfigError(
            f"{len(self._pages)} pages: no window of {crops.columns} x {crops.rows} patches with "
            f"{kind} was found, expected some"
        )

    def _label(
        self, parts: _Parts, crops: Crops, crop: int, page: Labels, corner: tuple[int, int]
    ) -> None:
        grid = (crops.columns, crops.rows)
        first = crop * crops.columns * crops.rows
        origin = np.array([*corner, *corner], np.float32) * PATCH
        patch, which, share = labels.shown(page.piece_boxes - origin, *grid, 0.3, 0.4)
        parts.piece_patch.append(first + patch)
        parts.piece_instance.append(parts.instances + which)
        parts.piece_share.append(share)
        parts.pieces.append(page.pieces)
        parts.instances += len(page.pieces)
        patch, which, share = labels.shown(page.letter_boxes - origin, *grid, 0.4, 0.4)
        parts.letter_patch.append(first + patch)
        parts.letter.append(page.letters[which])
        parts.letter_share.append(share)

    def _ask(
        self,
        rng: random.Random,
        parts: _Parts,
        count: int,
        crop: int,
        page: Labels,
        inside: np.ndarray,
    ) -> None:
        """Queries of one to five words that follow each other in the crop."""
        base = parts.instances - len(page.pieces)
        words = np.nonzero(inside)[0]
        first = np.searchsorted(page.piece_words, np.arange(len(page.words) + 1))
        for _ in range(count):
            wanted = rng.choice([1, 1, 2, 3, 4, 5])
            start = rng.randrange(len(words))
            with_marks = rng.random() < 0.1
            ids, instances = list[int](), list[int]()
            for number in range(start, min(start + wanted, len(words))):
                if number > start and words[number] != words[number - 1] + 1:
                    break
                for piece in range(first[words[number]], first[words[number] + 1]):
                    if with_marks or int(page.pieces[piece]) not in self._marks:
                        ids.append(int(page.pieces[piece]))
                        instances.append(base + piece)
            if ids:
                query = (crop, ids[:_LONGEST_QUERY], instances[:_LONGEST_QUERY])
                parts.queries.append(query)

    def _joined(self, parts: _Parts, pixels: np.ndarray, places: np.ndarray) -> Batch:
        longest = max((len(ids) for _, ids, _ in parts.queries), default=1)
        length = 1 + longest + QUERY_PADS
        ids = np.full((len(parts.queries), length), self._pad, np.int64)
        mask = np.zeros(ids.shape, bool)
        instance = np.full(ids.shape, -1, np.int64)
        for row, (_, tokens, instances) in enumerate(parts.queries):
            ids[row, 0] = self._bos
            ids[row, 1 : len(tokens) + 1] = tokens
            instance[row, 1 : len(tokens) + 1] = instances
            mask[row, : len(tokens) + 1 + QUERY_PADS] = True
        gathered = {
            name: torch.from_numpy(np.concatenate(getattr(parts, name)))
            for name in (
                "piece_patch", "piece_instance", "piece_share", "pieces",
                "letter_patch", "letter", "letter_share",
            )
        }  # fmt: skip
        return Batch(
            pixels=torch.from_numpy(pixels),
            places=torch.from_numpy(places),
            query_ids=torch.from_numpy(ids),
            query_mask=torch.from_numpy(mask),
            query_instance=torch.from_numpy(instance),
            query_crop=torch.tensor([crop for crop, _, _ in parts.queries], dtype=torch.int64),
            **gathered,
        )


def _is_large(page: Labels, inside: np.ndarray) -> bool:
    boxes = page.words[inside]
    height = float((boxes[:, 3] - boxes[:, 1]).mean())
    letter = float(page.letter_widths[inside].mean())
    low, high = _LARGE_HEIGHT
    narrow, wide = _LARGE_LETTER
    return len(boxes) >= 6 and low <= height <= high and narrow <= letter <= wide
