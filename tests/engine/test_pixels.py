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
from transformers.image_utils import SizeDict

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


def in_place() -> SiglipImageProcessor:
    """An image processor that reads where Pillow has the pixels."""
    found = SiglipImageProcessor()
    read_in_place(SimpleNamespace(image_processor=found))
    return found


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
    processor = in_place()
    page = processor.process_image(noise(20, 30), do_convert_rgb=True)
    assert page.shape == (3, 30, 20)
    assert page.stride() == (1, 80, 4)


def test_pixels_outlive_their_image() -> None:
    processor = in_place()
    page = processor.process_image(noise(200, 300))
    # What was freed would be written over.
    others = [Image.new("RGB", (200, 300), (shade, shade, shade)) for shade in range(64)]
    assert len(others) == 64
    assert np.array_equal(page.permute(1, 2, 0).numpy(), np.asarray(noise(200, 300)))


def test_a_page_of_several_blocks_of_memory_is_copied() -> None:
    processor = in_place()
    image = Image.new("RGB", (2500, 2500), (1, 2, 3))  # 25 MB, where a block has 16
    image.putpixel((2499, 2499), (7, 8, 9))
    page = processor.process_image(image)
    assert page.stride() == (1, 7500, 3)
    assert page[:, 0, 0].tolist() == [1, 2, 3]
    assert page[:, -1, -1].tolist() == [7, 8, 9]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [(851, 1101), (1700, 2200), (2500, 2500)])
def test_batches_of_any_size_are_resized_as_by_the_processor_itself(
    count: int, size: tuple[int, int]
) -> None:
    plain, processor = SiglipImageProcessor(), in_place()
    images = [noise(*size)] * count
    expected = plain(images=images, return_tensors="pt")["pixel_values"]
    found = processor(images=images, return_tensors="pt")["pixel_values"]
    assert torch.equal(found, expected)


@pytest.mark.parametrize("window", [(slice(0, 3), 0), (slice(1, 4), 0), (slice(0, 3), 5)])
def test_other_views_of_four_channels_are_resized_as_they_are(
    window: tuple[slice, int],
) -> None:
    plain, processor = SiglipImageProcessor(), in_place()
    colours, left = window
    memory = torch.randint(0, 256, (40, 30, 4), dtype=torch.uint8)
    view = memory[:, left:].permute(2, 0, 1)[colours]
    size = SizeDict(height=16, width=16)
    expected = plain.resize(image=view.contiguous(), size=size)
    assert torch.equal(processor.resize(image=view, size=size), expected)


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_what_is_not_rgb_goes_the_long_way(mode: str) -> None:
    image = noise(20, 30).convert(mode)
    plain, processor = SiglipImageProcessor(), in_place()
    expected = plain(images=[image], return_tensors="pt")["pixel_values"]
    found = processor(images=[image], return_tensors="pt")["pixel_values"]
    assert torch.equal(found, expected)


def test_a_processor_without_images_is_left_alone() -> None:
    read_in_place(SimpleNamespace())
