"""First weights. Without them small models do not begin to read within hours.

Positions are sines and cosines, and each head of the vision tower starts by looking at one
neighbour: the patch to its left, to its right, above or below. Reading is mostly that: joining
what stands side by side.
"""

from __future__ import annotations

import math
from itertools import cycle

import torch
from colpali_engine.models import ColPali

from colpali_serve.training.model.architecture import GRID, HEAD

# Neighbours (columns right, rows down) of the heads, on even and on odd layers; a fifth head
# begins anew.
_NEIGHBOURS = (((-1, 0), (1, 0), (0, -1), (0, 1)), ((-1, 0), (1, 0), (-2, 0), (2, 0)))
_POSITION_SCALE = 0.7


def _normal(like: torch.Tensor, scale: float, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(like.shape, generator=generator) * scale


def positions(hidden: int) -> torch.Tensor:
    """Sines and cosines of each patch's column and row: float32 (2304, hidden)."""
    waves = 2 * math.pi / _periods(hidden)
    angles = torch.arange(GRID)[:, None] * waves
    sines, cosines = torch.sin(angles), torch.cos(angles)
    across = torch.cat([sines, cosines], 1).expand(GRID, GRID, -1)
    down = torch.cat([sines, cosines], 1)[:, None].expand(GRID, GRID, -1)
    return torch.cat([across, down], -1).reshape(GRID * GRID, hidden) * _POSITION_SCALE


def _periods(hidden: int) -> torch.Tensor:
    return torch.logspace(math.log10(3.0), math.log10(2.0 * GRID), hidden // 4)


def _look_at(offset: tuple[int, int], hidden: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Query and key weights (64, hidden) of a head that looks `offset` patches away.

    The key holds sin and cos of a patch's place; the query holds those of the place beside it,
    by the sum formulas, so that their product is largest there.
    """
    waves = 2 * math.pi / _periods(hidden)
    count = hidden // 4
    chosen = torch.linspace(0, count * 0.7 - 1, HEAD // 4).long().tolist()
    query, key = torch.zeros(HEAD, hidden), torch.zeros(HEAD, hidden)
    for axis, distance in enumerate(offset):
        base, row = 2 * count * axis, HEAD // 2 * axis
        for number, wave in enumerate(chosen):
            sine, cosine = base + wave, base + count + wave
            here = row + 2 * number
            key[here, sine] = key[here + 1, cosine] = 1
            turn = float(waves[wave]) * distance
            query[here, sine], query[here, cosine] = math.cos(turn), math.sin(turn)
            query[here + 1, cosine], query[here + 1, sine] = math.cos(turn), -math.sin(turn)
    return query, key


@torch.no_grad()
def initialise(model: ColPali, seed: int = 0) -> None:
    """Overwrite a model's weights with first ones, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    inner = model.model.model
    tower, language = inner.vision_tower, inner.language_model
    hidden = tower.config.hidden_size
    depth = math.sqrt(2 * len(tower.encoder.layers))

    tower.embeddings.position_embedding.weight.copy_(positions(hidden))
    patch = tower.embeddings.patch_embedding
    weight = _normal(patch.weight, 1 / math.sqrt(patch.weight[0].numel()), generator)
    # White paper is 1 everywhere: it maps to nothing, so that ink is what is seen.
    patch.bias.copy_(-1.5 * weight.sum((1, 2, 3)))
    patch.weight.copy_(1.5 * weight)

    for number, layer in enumerate(tower.encoder.layers):
        attention = layer.self_attn
        for linear in (attention.v_proj, attention.out_proj):
            linear.weight.copy_(_normal(linear.weight, 0.7 / math.sqrt(hidden), generator))
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
            linear.bias.zero_()
        attention.out_proj.weight.div_(depth)
        sharpness = 1.3 if number < 4 else 0.9
        offsets = cycle(_NEIGHBOURS[number % 2])
        for head, offset in zip(range(hidden // HEAD), offsets, strict=False):
            query, key = _look_at(offset, hidden)
            rows = slice(HEAD * head, HEAD * (head + 1))
            for linear, looking in ((attention.q_proj, query), (attention.k_proj, key)):
                noise = _normal(looking, 0.02, generator)
                linear.weight[rows] = looking * sharpness + noise
        for linear in (layer.mlp.fc1, layer.mlp.fc2):
            scale = 0.8 * math.sqrt(2 / linear.weight.shape[1])
            linear.weight.copy_(_normal(linear.weight, scale, generator))
            linear.bias.zero_()
        layer.mlp.fc2.weight.div_(depth)

    for linear in (inner.multi_modal_projector.linear, model.custom_text_proj):
        linear.weight.copy_(_normal(linear.weight, 1 / math.sqrt(hidden), generator))
        linear.bias.zero_()
    table = language.embed_tokens.weight
    table.copy_(_normal(table, 1 / math.sqrt(hidden), generator))
    for layer in language.layers:
        for parameter in layer.parameters():
            if parameter.dim() == 2:
                scale = 0.8 / math.sqrt(parameter.shape[1])
                parameter.copy_(_normal(parameter, scale, generator))
        layer.self_attn.o_proj.weight.mul_(0.5)
        layer.mlp.down_proj.weight.mul_(0.5)
