"""One text layer more for a model that has learned already."""

from __future__ import annotations

import copy

import torch
from colpali_engine.models import ColPali


@torch.no_grad()
def deepened(model: ColPali, seed: int = 0) -> ColPali:
    """A model of one text layer more that gives the same vectors: the new layer adds nothing yet.

    Args:
        model: float32; it stays as it is.
        seed: of the new layer's first weights.
    """
    config = copy.deepcopy(model.config)
    config.text_config.num_hidden_layers += 1
    deeper = ColPali(config).to(torch.float32)
    weights = model.state_dict()
    missing, unexpected = deeper.load_state_dict(weights, strict=False)
    last = f".layers.{config.text_config.num_hidden_layers - 1}."
    if unexpected or not all(last in name for name in missing):
        raise ValueError(f"{missing} are not of the new layer, or {unexpected} of the old model")
    generator = torch.Generator().manual_seed(seed)
    layer = deeper.model.model.language_model.layers[-1]
    for parameter in layer.parameters():
        if parameter.dim() == 2:
            first = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(first * 0.8 / parameter.shape[1] ** 0.5)
        else:
            parameter.zero_()
    layer.self_attn.o_proj.weight.zero_()
    layer.mlp.down_proj.weight.zero_()
    return deeper
