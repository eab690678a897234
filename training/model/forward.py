"""The forward pass of a ColPali on parts of pages, and on queries, for training.

It uses the model's own weights and gives what `ColPali.forward` gives on a whole page and on a
query alone (a test compares them). Two things are its own: a crop keeps the positions that its
patches have on the page, in the vision tower as in the language model, and attention over short
rows is written out, which is faster on a CPU than the fused kernel.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from colpali_engine.models import ColPali
from torch import Tensor

from colpali_serve.training.model.architecture import GRID, HEAD, PATCH

# Above this many rows torch's own attention is the faster one; in bfloat16 on CPUs it is not, until
# the matrix grows too large.
_LONGEST_WRITTEN_OUT, _LONGEST_IN_BFLOAT16 = 1000, 3000
_VISION_EPSILON = _TEXT_EPSILON = 1e-6


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    half = query.dtype == torch.bfloat16
    longest = _LONGEST_IN_BFLOAT16 if half else _LONGEST_WRITTEN_OUT
    if query.is_cuda or query.shape[-2] > longest:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    weights = (query * HEAD**-0.5) @ key.transpose(-1, -2)
    if mask is not None:
        weights = weights.masked_fill(~mask, -1e4)
    return torch.softmax(weights, -1) @ value


def _heads(rows: Tensor) -> Tensor:
    batch, length, _ = rows.shape
    return rows.view(batch, length, -1, HEAD).transpose(1, 2)


def _joined(heads: Tensor) -> Tensor:
    return heads.transpose(1, 2).flatten(2)


def see(model: ColPali, pixels: Tensor, places: Tensor) -> Tensor:
    """What the vision tower makes of crops.

    Args:
        model: the model, in any dtype.
        pixels: (crops, 3, height, width) in -1..1; height and width multiples of 16.
        places: int64 (crops, patches): each patch's raster index on the page.

    Returns:
        (crops, patches, hidden).
    """
    tower = model.model.model.vision_tower
    crops, _, height, width = pixels.shape
    patches = pixels.view(crops, 3, height // PATCH, PATCH, width // PATCH, PATCH)
    flat = patches.permute(0, 2, 4, 1, 3, 5).reshape(crops, -1, 3 * PATCH * PATCH)
    first = tower.embeddings.patch_embedding
    rows = F.linear(flat, first.weight.flatten(1), first.bias)
    rows = rows + tower.embeddings.position_embedding(places)
    size = rows.shape[-1:]
    for layer in tower.encoder.layers:
        attention, norm = layer.self_attn, layer.layer_norm1
        normed = F.layer_norm(rows, size, norm.weight, norm.bias, _VISION_EPSILON)
        query, key, value = (
            _heads(linear(normed))
            for linear in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        rows = rows + attention.out_proj(_joined(_attend(query, key, value)))
        norm = layer.layer_norm2
        normed = F.layer_norm(rows, size, norm.weight, norm.bias, _VISION_EPSILON)
        rows = rows + layer.mlp.fc2(F.relu(layer.mlp.fc1(normed)))
    norm = tower.post_layernorm
    return F.layer_norm(rows, size, norm.weight, norm.bias, _VISION_EPSILON)


def _rms(rows: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(rows, rows.shape[-1:], 1.0 + weight, _TEXT_EPSILON)


def _turn(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    half = HEAD // 2
    swapped = torch.cat([-heads[..., half:], heads[..., :half]], -1)
    return heads * cosine + swapped * sine


def _think(language: Any, rows: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
    cosine, sine = (part[:, None] for part in language.rotary_emb(rows, position_ids=places))
    for layer in language.layers:
        attention = layer.self_attn
        normed = _rms(rows, layer.input_layernorm.weight)
        query = _turn(_heads(attention.q_proj(normed)), cosine, sine)
        key = _turn(_heads(attention.k_proj(normed)), cosine, sine)
        value = _heads(attention.v_proj(normed))
        repeats = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(repeats, 1) for part in (key, value))
        rows = rows + attention.o_proj(_joined(_attend(query, key, value, mask)))
        normed = _rms(rows, layer.post_attention_layernorm.weight)
        gate = F.relu(layer.mlp.gate_proj(normed))
        rows = rows + layer.mlp.down_proj(gate * layer.mlp.up_proj(normed))
    return _rms(rows, language.norm.weight)


def _embedded(language: Any, ids: Tensor) -> Tensor:
    table = language.embed_tokens.weight
    return F.embedding(ids, table) * torch.tensor(table.shape[1] ** 0.5, dtype=table.dtype)


def read(model: ColPali, seen: Tensor, places: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of crops, from what the vision tower saw.

    Args:
        model: the model.
        seen: (crops, patches, hidden), from :func:`see`.
        places: int64 (crops, patches).
        prompt: int64 (prompt tokens,): what the processor writes behind the patches.

    Returns:
        The language model's output (crops, patches + prompt, hidden) and the unit vectors made
        from it, float32 (crops, patches + prompt, 128).
    """
    inner = model.model.model
    crops = seen.shape[0]
    words = _embedded(inner.language_model, prompt).expand(crops, -1, -1)
    rows = torch.cat([inner.multi_modal_projector(seen), words], 1)
    behind = torch.arange(len(prompt), device=places.device) + GRID * GRID + 1
    output = _think(
        inner.language_model, rows, torch.cat([places + 1, behind.expand(crops, -1)], 1), None
    )
    return output, F.normalize(model.custom_text_proj(output).float(), dim=-1)


def ask(model: ColPali, ids: Tensor, mask: Tensor) -> Tensor:
    """Embeddings of queries, bidirectional as the service asks for them.

    Args:
        model: the model.
        ids: int64 (queries, length), padded on the right.
        mask: bool (queries, length), true for real tokens.

    Returns:
        float32 (queries, length, 128); rows of padding mean nothing.
    """
    language = model.model.model.language_model
    places = (torch.arange(ids.shape[1], device=ids.device) + 1).expand(ids.shape[0], -1)
    output = _think(language, _embedded(language, ids), places, mask[:, None, None, :])
    return F.normalize(model.custom_text_proj(output).float(), dim=-1)
