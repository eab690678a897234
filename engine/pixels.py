"""Pixels reach the families' image processors as they lie in memory, without copies on the way."""

from __future__ import annotations

import inspect
from typing import Any

import nanoarrow
import numpy as np
import torch
from PIL import Image
from torch.utils.dlpack import from_dlpack
from transformers.image_processing_backends import TorchvisionBackend

_STORED = 4
"""Bytes of a pixel in Pillow: red, green, blue, and one that means nothing."""


def read_in_place(processor: Any) -> None:
    """Let a family's image processor read RGB images where they are.

    transformers copies a page three times and sorts its bytes by colour before making it smaller.
    torch makes pages smaller twice as fast in the order in which Pillow has them, colours side by
    side. The values are the same to the bit: the arithmetic is in whole numbers.

    Args:
        processor: A colpali-engine processor. One not built upon torchvision stays as it is.
    """
    inner = getattr(processor, "image_processor", None)
    if isinstance(inner, TorchvisionBackend):
        inner.process_image = _InPlace(inner.process_image)
        inner.resize = _Whole(inner.resize)


class _InPlace:
    """Stands in for `TorchvisionBackend.process_image`, of one instance."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __call__(self, image: Any, **options: Any) -> torch.Tensor:
        """Give a page as uint8 (3, height, width), a view of Pillow's own memory if that can be."""
        if not isinstance(image, Image.Image) or image.mode != "RGB" or options.get("device"):
            other: torch.Tensor = self._original(image, **options)
            return other
        try:
            (stored,) = nanoarrow.c_array(image).children
        except ValueError:  # larger than a block of Pillow's memory: it lies in several
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)
        values = from_dlpack(stored.view().buffer(1))
        return values.view(image.height, image.width, _STORED).permute(2, 0, 1)[:3]


class _Whole:
    """Stands in for `TorchvisionBackend.resize`, of one instance.

    Pixels of four bytes that lie side by side are made smaller three times as fast as three of the
    four, which would be copied out first.
    """

    def __init__(self, original: Any) -> None:
        self._original = original
        self._signature = inspect.signature(original)

    def __call__(self, *given: Any, **options: Any) -> torch.Tensor:
        """Make images, uint8 (..., 3, height, width), smaller."""
        call = self._signature.bind(*given, **options)
        # Families call it "image" or "images".
        name, image = next(iter(call.arguments.items()))
        if not _is_stored(image):
            plain: torch.Tensor = self._original(*given, **options)
            return plain
        shape = (*image.shape[:-3], _STORED, *image.shape[-2:])
        call.arguments[name] = image.as_strided(shape, image.stride())
        smaller: torch.Tensor = self._original(*call.args, **call.kwargs)
        return smaller[..., :3, :, :]


def _is_stored(image: torch.Tensor) -> bool:
    """Whether an image is a view of Pillow's memory, in its whole width."""
    *_, colours, height, width = image.shape
    order = (1, _STORED * width, _STORED)
    size = height * width * _STORED
    return (
        colours == 3
        and image.stride()[-3:] == order
        and image.storage_offset() == 0
        and image.untyped_storage().nbytes() == size
    )
