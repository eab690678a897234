"""The short way of pixels gives the family's own values, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import SiglipImageProcessor

from colpali_serve.engine.forward import page_batch
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.pixels import read_in_place
from tests.checkpoints import FAMILIES
from tests.engine.reference import reference

SIZES = [(851, 1101), (33, 57), (640, 200), (32, 32)]


def noise(width: int, height: int) -> Image.Image:
    """Neighbouring pixels that have nothing in common: the hardest case of a resizing."""
    random = np.random.default_rng(width)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gets_the_values_of_its_own_processor(
    family: str, checkpoint: Callable[[str], Path], load: Callable[..., LoadedModel]
) -> None:
    own = reference(family, checkpoint(family), torch.float32).processor
    for size in SIZES:
        image = noise(*size)
        expected = own.process_images([image])["pixel_values"]
        found = page_batch(load(family), [image])["pixel_values"]
        assert torch.equal(found, expected), size


def test_a_page_is_not_sorted_by_colour_before_it_is_made_smaller() -> None:
    processor = SimpleNamespace(image_processor=SiglipImageProcessor())
    read_in_place(processor)
    page = processor.image_processor.process_image(noise(20, 30), do_convert_rgb=True)
    assert page.shape == (3, 30, 20)
    assert page.stride() == (1, 60, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_what_is_not_rgb_goes_the_long_way(mode: str) -> None:
    image = noise(20, 30).convert(mode)
    plain, processor = (
        SiglipImageProcessor(),
        SimpleNamespace(image_processor=SiglipImageProcessor()),
    )
    read_in_place(processor)
    expected = plain(images=[image], return_tensors="pt")["pixel_values"]
    found = processor.image_processor(images=[image], return_tensors="pt")["pixel_values"]
    assert torch.equal(found, expected)


def test_a_processor_without_images_is_left_alone() -> None:
    read_in_place(SimpleNamespace())
