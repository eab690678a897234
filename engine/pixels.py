"""Pixels reach the families' image processors as they lie in memory, without copies on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_backends import TorchvisionBackend


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


class _InPlace:
    """Stands in for `TorchvisionBackend.process_image`, of one instance."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __call__(self, image: Any, **options: Any) -> torch.Tensor:
        """Give a page as uint8 (3, height, width), a view of bytes in the order of Pillow."""
        if not isinstance(image, Image.Image) or image.mode != "RGB" or options.get("device"):
            other: torch.Tensor = self._original(image, **options)
            return other
        # `asarray` would save a copy, but torch warns of memory that it must not write to.
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)
