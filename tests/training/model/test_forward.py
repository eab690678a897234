"""Training's own forward pass gives what colpali-engine gives."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from colpali_engine.models import ColPali, ColPaliProcessor

from colpali_serve.training.model import architecture, forward
from colpali_serve.training.model.architecture import GRID, PATCH, Shape
from tests.training import materials

TEXTS = ["remove files", "which printer is in the garden of the castle", "x"]
PATCHES = GRID * GRID


@cache
def model() -> tuple[ColPali, ColPaliProcessor]:
    return materials.model()


@cache
def page() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    loaded, processor = model()
    batch = dict(processor.process_images([materials.noise()]))
    batch.pop("labels")
    with torch.no_grad():
        return batch, loaded(**batch)


def alone(loaded: ColPali, processor: ColPaliProcessor, text: str) -> torch.Tensor:
    """colpali-engine's vectors of one query, which nothing pads."""
    with torch.no_grad():
        found: torch.Tensor = loaded(**processor.process_queries(queries=[text]))[0]
    return found


@torch.no_grad()
def test_a_whole_page_is_what_colpali_makes_of_it() -> None:
    loaded, _ = model()
    batch, expected = page()
    places = torch.arange(PATCHES)[None]
    seen = forward.see(loaded, batch["pixel_values"], places)
    output, vectors = forward.read(loaded, seen, places, batch["input_ids"][0, PATCHES:])
    assert output.shape == (1, batch["input_ids"].shape[1], materials.SHAPE.hidden)
    torch.testing.assert_close(vectors, expected, atol=1e-4, rtol=0)
    # Vectors that hardly differ would agree whatever the order of patches and prompt.
    assert (vectors[0] @ vectors[0].T).mean() < 0.9


@torch.no_grad()
@pytest.mark.parametrize("text", TEXTS)
def test_a_query_is_what_colpali_makes_of_it_alone(text: str) -> None:
    loaded, processor = model()
    batch = processor.process_queries(queries=[text])
    found = forward.ask(loaded, batch["input_ids"], batch["attention_mask"].bool())[0]
    torch.testing.assert_close(found, alone(loaded, processor, text), atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_padded_query_is_what_it_is_alone() -> None:
    loaded, processor = model()
    batch = processor.process_queries(queries=TEXTS)
    mask = batch["attention_mask"].bool()
    assert not mask.all()
    together = forward.ask(loaded, batch["input_ids"], mask)
    for row, real, text in zip(together, mask, TEXTS, strict=True):
        torch.testing.assert_close(row[real], alone(loaded, processor, text), atol=1e-4, rtol=0)


@torch.no_grad()
def test_the_last_token_of_a_query_reaches_the_first() -> None:
    loaded, _ = model()
    ids, mask = torch.tensor([[2, 20, 30, 40], [2, 20, 30, 50]]), torch.ones(2, 4, dtype=torch.bool)
    first, second = forward.ask(loaded, ids, mask)
    assert (first[0] - second[0]).abs().max() > 1e-3


@torch.no_grad()
def test_a_heads_keys_may_be_shared() -> None:
    # Gemma's own shape: fewer key heads than query heads.
    made, processor = architecture.build(Shape(128, 1, 1, 128), materials.fresh_tokenizer())
    config = made.config
    config.text_config.num_key_value_heads = 1
    shared = ColPali(config).eval()
    batch = processor.process_queries(queries=["remove files"])
    found = forward.ask(shared, batch["input_ids"], batch["attention_mask"].bool())
    torch.testing.assert_close(found, shared(**batch), atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_crop_keeps_its_place_on_the_page() -> None:
    loaded, _ = model()
    pixels = torch.rand(1, 3, 2 * PATCH, 3 * PATCH, generator=torch.Generator().manual_seed(1))
    places = torch.tensor([[5, 6, 7, 53, 54, 55]])
    seen = forward.see(loaded, pixels, places)
    assert seen.shape == (1, 6, materials.SHAPE.hidden)
    moved = forward.see(loaded, pixels, places + 20)
    assert (seen - moved).abs().max() > 1e-3
    # Patches are taken in raster order: with their places they may come in any.
    flipped = forward.see(
        loaded, pixels.unflatten(3, (3, PATCH)).flip(3).flatten(3), places[:, [2, 1, 0, 5, 4, 3]]
    )
    torch.testing.assert_close(flipped[:, [2, 1, 0, 5, 4, 3]], seen, atol=1e-5, rtol=0)


@torch.no_grad()
def test_crops_do_not_see_each_other() -> None:
    loaded, _ = model()
    pixels = torch.rand(2, 3, PATCH, 2 * PATCH, generator=torch.Generator().manual_seed(1))
    places, prompt = torch.tensor([[5, 6], [900, 901]]), torch.tensor([2, 2, 30])
    together = forward.read(loaded, forward.see(loaded, pixels, places), places, prompt)[1]
    for row in (0, 1):
        one = slice(row, row + 1)
        seen = forward.see(loaded, pixels[one], places[one])
        lone = forward.read(loaded, seen, places[one], prompt)[1]
        torch.testing.assert_close(together[one], lone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_long_rows_go_through_the_fused_kernel_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, processor = model()
    batch = processor.process_queries(queries=TEXTS)
    mask = batch["attention_mask"].bool()
    written_out = forward.ask(loaded, batch["input_ids"], mask)
    monkeypatch.setattr(forward, "_LONGEST_WRITTEN_OUT", 0)
    fused = forward.ask(loaded, batch["input_ids"], mask)
    torch.testing.assert_close(fused[mask], written_out[mask], atol=1e-5, rtol=0)
