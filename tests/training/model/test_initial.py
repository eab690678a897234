"""First weights: heads look at their neighbours, white paper is nothing."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from colpali_engine.models import ColPali

from colpali_serve.training.model import architecture, initial
from colpali_serve.training.model.architecture import GRID, HEAD, PATCH
from tests.training import materials

LAYERS = 2


@cache
def first(hidden: int, seed: int = 0) -> ColPali:
    shape = architecture.Shape(hidden, LAYERS, 1, 128)
    model, _ = architecture.build(shape, materials.fresh_tokenizer())
    initial.initialise(model, seed)
    return model


def attention(model: ColPali, layer: int, head: int) -> torch.Tensor:
    """What each patch of a blank page looks at: (2304, 2304)."""
    tower = model.model.model.vision_tower
    part = tower.encoder.layers[layer]
    normed = part.layer_norm1(tower.embeddings.position_embedding.weight)
    rows = slice(HEAD * head, HEAD * (head + 1))
    query = part.self_attn.q_proj(normed)[:, rows]
    key = part.self_attn.k_proj(normed)[:, rows]
    return torch.softmax(query @ key.T * HEAD**-0.5, -1)


def by_offset(weights: torch.Tensor, reach: int = 3) -> dict[tuple[int, int], float]:
    """Mean attention of the inner patches by (columns right, rows down)."""
    grid = weights.view(GRID, GRID, GRID, GRID)
    inner = torch.arange(reach, GRID - reach)
    row, column = inner[:, None], inner[None, :]
    steps = range(-reach, reach + 1)
    return {
        (right, down): float(grid[row, column, row + down, column + right].mean())
        for right in steps
        for down in steps
    }


@torch.no_grad()
@pytest.mark.parametrize(
    ("layer", "head", "expected"),
    [
        (0, 0, (-1, 0)), (0, 1, (1, 0)), (0, 2, (0, -1)), (0, 3, (0, 1)),
        (1, 0, (-1, 0)), (1, 1, (1, 0)), (1, 2, (-2, 0)), (1, 3, (2, 0)),
    ],
)  # fmt: skip
def test_each_head_looks_at_its_neighbour(layer: int, head: int, expected: tuple[int, int]) -> None:
    found = by_offset(attention(first(256), layer, head))
    assert max(found, key=lambda offset: found[offset]) == expected
    # Not just by a hair: uniform attention would be 1 / 2304.
    assert found[expected] > 20 / GRID**2


@torch.no_grad()
@pytest.mark.parametrize("hidden", [128, 512])
def test_models_of_other_widths_have_such_heads_too(hidden: int) -> None:
    for head in range(hidden // HEAD):
        found = by_offset(attention(first(hidden), 0, head))
        expected = ((-1, 0), (1, 0), (0, -1), (0, 1))[head % 4]
        assert max(found, key=lambda offset: found[offset]) == expected


@torch.no_grad()
def test_white_paper_is_nothing_and_ink_is_something() -> None:
    patch = first(256).model.model.vision_tower.embeddings.patch_embedding
    white = torch.ones(1, 3, PATCH, PATCH)
    assert patch(white).abs().max() < 1e-4
    white[:, :, 4:12, 7] = -1
    assert patch(white).abs().max() > 0.1


def test_every_place_is_another() -> None:
    places = initial.positions(256)
    assert places.shape == (GRID * GRID, 256)
    apart = torch.cdist(places, places).fill_diagonal_(torch.inf)
    assert apart.min() > 0.1


def test_the_seed_decides_alone() -> None:
    torch.manual_seed(1)
    one = first.__wrapped__(128, 3)
    torch.manual_seed(2)
    two, other = first.__wrapped__(128, 3), first.__wrapped__(128, 4)
    same = dict(two.named_parameters())
    for name, parameter in one.named_parameters():
        if "norm" not in name:
            assert torch.equal(parameter, same[name]), name
    assert not torch.equal(one.custom_text_proj.weight, other.custom_text_proj.weight)
