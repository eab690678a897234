"""Attention in blocks: the same as torch's, to bfloat16's rounding, and only where it is ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from colpali_serve.engine.attention import BLOCKS, block_attention
from colpali_serve.engine.encoder import Encoder
from tests.engine.inputs import page_inputs

Drawn = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Layer(torch.nn.Module):
    """What transformers hands over as the layer."""

    is_causal = False
    num_key_value_groups = 1


def drawn(heads: int = 2, key_heads: int = 2, length: int = 600, seed: int = 0) -> Drawn:
    random = torch.Generator().manual_seed(seed)

    def one(count: int) -> torch.Tensor:
        return torch.randn(2, count, length, 32, generator=random).bfloat16()

    # Keys with much in common, as real ones have.
    return one(heads), one(key_heads) + 3, one(key_heads)


def exact(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **more: Any) -> torch.Tensor:
    rows = scaled_dot_product_attention(query.double(), key.double(), value.double(), **more)
    return rows.transpose(1, 2)


@pytest.mark.parametrize("length", [512, 600, 769])
def test_blocks_are_near_the_exact_values(length: int) -> None:
    query, key, value = drawn(length=length)
    expected = exact(query, key, value)
    found, weights = block_attention(Layer(), query, key, value, None)
    assert weights is None
    assert found.dtype == torch.bfloat16
    assert found.shape == (2, length, 2, 32)
    # bfloat16 has three digits; torch, which rounds once less, is about half as far away.
    off = (found - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert off < 0.01


def test_heads_may_share_keys_and_scores_another_scale() -> None:
    query, key, value = drawn(heads=4, key_heads=2)
    expected = exact(query, key, value, enable_gqa=True, scale=0.05)
    layer = Layer()
    layer.num_key_value_groups = 2
    found, _ = block_attention(layer, query, key, value, None, scaling=0.05)
    torch.testing.assert_close(found.double(), expected, atol=0.01, rtol=0.02)


@pytest.mark.parametrize("what", ["masked", "causal", "short", "float32"])
def test_the_rest_is_left_to_torch(what: str) -> None:
    query, key, value = drawn(length=40 if what == "short" else 600)
    mask, more = None, {}
    if what == "masked":
        mask = torch.rand(2, 1, 600, 600) < 0.5
        more = {"attn_mask": mask}
    if what == "causal":
        more = {"is_causal": True}
    if what == "float32":
        query, key, value = query.float(), key.float(), value.float()
    expected = scaled_dot_product_attention(query, key, value, **more).transpose(1, 2)
    found, _ = block_attention(Layer(), query, key, value, mask, is_causal=what == "causal")
    assert torch.equal(found, expected)


def test_the_bundled_checkpoint_gives_nearly_the_same_with_it(
    start_from: Callable[..., Encoder], images: list[Any]
) -> None:
    pages = page_inputs(images[:1])
    (exact_page,) = start_from("colpali-tiny").embed_images(pages)
    (plain,) = start_from("colpali-tiny", dtype="bfloat16", attention="sdpa").embed_images(pages)
    encoder = start_from("colpali-tiny", dtype="bfloat16", attention=BLOCKS)
    (page,) = encoder.embed_images(pages)
    # It is really used, and makes a difference.
    assert encoder.loaded.model.model.model.vision_tower.config._attn_implementation == BLOCKS
    assert (page.embedding != plain.embedding).any()
    ours_off, torchs_off = (
        abs(one.embedding.astype("float32") - exact_page.embedding.astype("float32")).mean()
        for one in (page, plain)
    )
    assert ours_off < 1.3 * torchs_off
