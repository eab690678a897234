"""One item from bytes or text to the tensors that a forward takes: the host's share of the work."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from colpali_serve.engine.forward import Grid, grids, page_batch, query_batch
from colpali_serve.engine.images import decode_data_uri, decode_image
from colpali_serve.engine.items import ImageInput, Input, TextInput
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.margins import WHOLE, Box, cut, inside_margins
from colpali_serve.engine.observing import Observer
from colpali_serve.engine.queries import QueryGuard
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.engine.tokens import query_tokens
from colpali_serve.schemas import (
    ColPaliError,
    Embedding,
    EncodingError,
    InvalidPageError,
    InvalidQueryError,
)


@dataclass(frozen=True)
class Prepared:
    """An item that is ready for the device.

    Attributes:
        tensors: What the model takes, batch dimension 1.
        length: Rows of the sequence: what it costs, in patches.
        grid: Patch columns and rows of an image.
        token_ids: int64 (length,), the vocabulary's id at each place.
        box: The part of an image that the grid covers.
        weights: float32 (real rows,), how much each token of a text counts; None where all count
            alike.
    """

    tensors: dict[str, Any]
    length: int
    grid: Grid | None = None
    token_ids: NDArray[np.int64] | None = None
    box: Box = WHOLE
    weights: NDArray[np.float32] | None = None

    @property
    def has_image(self) -> bool:
        """Whether it is an image; images and texts never share a forward."""
        return "pixel_values" in self.tensors

    def weighed(self, embedding: Embedding) -> Embedding:
        """Give rows of unit length the length that their tokens count."""
        if self.weights is None:
            return embedding
        return (embedding * self.weights[:, None]).astype(embedding.dtype)


class Preparer:
    """Decodes, checks and preprocesses items, from any number of threads.

    Args:
        loaded: The model.
        settings: Limits.
        observer: Is told how long each step took.
    """

    def __init__(self, loaded: LoadedModel, settings: EncoderSettings, observer: Observer) -> None:
        self._loaded, self._settings, self._observer = loaded, settings, observer
        self._guard = QueryGuard(loaded.processor, settings)
        self._most_aspect = loaded.family.max_aspect or math.inf

    def __call__(self, entry: Input) -> Prepared:
        """Prepare an item.

        Args:
            entry: The item.

        Raises:
            InvalidPageError: It is a bad image.
            InvalidQueryError: It is a bad query, text or image.
            EncodingError: The family's processor failed on it.
        """
        try:
            if isinstance(entry, TextInput):
                text = self._guard.check(entry.text, entry.owner, entry.id)
                with self._observer.stage("preprocess"):
                    query = _prepared(query_batch(self._loaded, [text]))
                    return replace(query, weights=self._weights(text, query.token_ids))
            with self._observer.stage("decode"):
                image = self._decode(entry)
            with self._observer.stage("preprocess"):
                image, box = self._without_margins(image)
                tensors = page_batch(self._loaded, [image])
            (grid,) = grids(self._loaded, tensors, [image])
            return _prepared(tensors, grid, box)
        except ColPaliError:
            raise
        except Exception as error:
            raise EncodingError(
                f"{entry.owner}: the model's processor failed, expected an embedding", entry.id
            ) from error

    def _decode(self, entry: ImageInput) -> Image.Image:
        try:
            data = entry.data
            if data is not None and entry.url is not None:
                raise InvalidPageError(
                    f"{entry.owner}: has an image and a url, expected one of them", entry.id
                )
            if data is None:
                if entry.url is None:
                    raise InvalidPageError(
                        f"{entry.owner}: has no image, expected image bytes or a data: URI",
                        entry.id,
                    )
                data = decode_data_uri(entry.url, entry.owner, entry.id, self._settings)
            image = decode_image(data, entry.owner, entry.id, self._settings)
            if (aspect := _aspect(image)) > self._most_aspect:
                raise InvalidPageError(
                    f"{entry.owner}: image is {image.width}x{image.height}, a ratio of "
                    f"{aspect:.0f}:1, expected at most {self._most_aspect:.0f}:1",
                    entry.id,
                )
        except InvalidPageError as error:
            if entry.kind == "query":
                raise InvalidQueryError(error.message, error.item) from None
            raise
        return image

    def _weights(
        self, text: str, token_ids: NDArray[np.int64] | None
    ) -> NDArray[np.float32] | None:
        if not self._loaded.weights or token_ids is None:
            return None
        tokens = query_tokens(self._loaded, text, token_ids)
        return self._loaded.weights.of([token.spelt for token in tokens])

    def _without_margins(self, image: Image.Image) -> tuple[Image.Image, Box]:
        if not self._loaded.cuts_margins:
            return image, WHOLE
        box = inside_margins(image)
        inner = cut(image, box)
        # A strip that only its margins made wide enough for the family keeps them.
        return (image, WHOLE) if _aspect(inner) > self._most_aspect else (inner, box)


def _aspect(image: Image.Image) -> float:
    return max(image.size) / min(image.size)


def _prepared(tensors: dict[str, Any], grid: Grid | None = None, box: Box = WHOLE) -> Prepared:
    ids, real = tensors["input_ids"][0], tensors["attention_mask"][0].bool()
    return Prepared(tensors, len(ids), grid, ids[real].numpy(), box)


def joined(items: list[Prepared], padding_side: str, pad_token: int) -> dict[str, Any]:
    """Several items as one batch, padded as the family's processor would have done.

    Args:
        items: All images or all texts.
        padding_side: "left" or "right", the tokenizer's.
        pad_token: Its padding id.

    Returns:
        Tensors whose first dimension is the number of items; what the processor gives that is
        no tensor is taken from the first item.
    """
    if len(items) == 1:
        return items[0].tensors
    longest = max(item.length for item in items)
    batch: dict[str, Any] = {}
    for key, first in items[0].tensors.items():
        parts = [item.tensors[key] for item in items]
        if not isinstance(first, torch.Tensor):
            batch[key] = first
        elif first.ndim == 2 and all(
            part.shape[1] == item.length for part, item in zip(parts, items, strict=True)
        ):
            filler = pad_token if key == "input_ids" else 0
            left = padding_side == "left"
            batch[key] = torch.cat([_padded(part, longest, filler, left) for part in parts])
        else:
            # Patches of pages of several sizes: further ones are zeros that the model passes over.
            most = max(part.shape[1] for part in parts)
            batch[key] = torch.cat([_padded(part, most, 0, left=False) for part in parts])
    return batch


def _padded(part: torch.Tensor, length: int, filler: int, left: bool) -> torch.Tensor:
    missing = length - part.shape[1]
    if not missing:
        return part
    padding = part.new_full((part.shape[0], missing, *part.shape[2:]), filler)
    return torch.cat([padding, part] if left else [part, padding], 1)
