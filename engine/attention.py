"""Attention for processors that multiply bfloat16, but not inside torch's own kernel.

torch's attention on CPUs works in float32 inside unless there are AMX tiles, which on AVX512-BF16
alone is half as fast as products in bfloat16. Here the products are matrix products of whole
blocks: the bundled checkpoint's forward takes two thirds of the time, and its embeddings are as
near to those in float32 as before (tests/engine/test_attention.py).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

BLOCKS = "blocks"
"""Under this name the models know it."""

_ROWS = 256
"""Queries at a time: their scores stay in the processor's caches."""
_WORTH_IT = 512
"""Shorter sequences are faster in one piece."""


def block_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attend in both directions, a block of queries of one head at a time.

    What is masked, causal, short, or in another dtype than bfloat16 goes to torch's own attention.

    Args:
        module: The layer.
        query: (items, heads, length, dim).
        key: (items, key heads, key length, dim); the number of heads is a multiple of theirs.
        value: As `key`.
        attention_mask: Only None is for us.
        dropout: Only 0 is for us.
        scaling: Factor of the scores; None takes dim ** -0.5.
        is_causal: Only False is for us; None takes the layer's own.
        more: What transformers passes on.

    Returns:
        (items, length, heads, dim), and no weights, as transformers wants it.
    """
    items, heads, length, dim = query.shape
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    ours = query.dtype == torch.bfloat16 and query.device.type == "cpu" and length >= _WORTH_IT
    if not ours or attention_mask is not None or dropout or causal or _unusual(more):
        output: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
        )
        return output
    shared = heads // key.shape[1]
    query = query * (dim**-0.5 if scaling is None else scaling)
    # What all keys have in common moves all scores of a query alike, which softmax does not see:
    # without it they are smaller, and lose less when they are rounded.
    key = key - key.mean(dim=2, keepdim=True)
    result = torch.empty(items, length, heads, value.shape[-1], dtype=query.dtype)
    for item in range(items):
        for head in range(heads):
            columns, rows = key[item, head // shared].T, value[item, head // shared]
            for top in range(0, length, _ROWS):
                block = slice(top, top + _ROWS)
                weights = torch.softmax(query[item, head, block] @ columns, dim=-1)
                result[item, block, head] = weights @ rows
    return result, None


def _unusual(more: dict[str, Any]) -> bool:
    names = ("position_bias", "cache", "softcap", "output_attentions")
    return any(more.get(name) is not None and more[name] is not False for name in names)


AttentionInterface.register(BLOCKS, block_attention)
AttentionMaskInterface.register(BLOCKS, sdpa_mask)
