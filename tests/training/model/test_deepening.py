"""A layer more that changes nothing until it learns."""

from __future__ import annotations

from pathlib import Path

import torch

from colpali_serve.training.model import architecture, forward
from colpali_serve.training.model.deepening import deepened
from tests.training import materials

_PLACES = torch.arange(12)[None]


@torch.no_grad()
def test_a_deeper_model_gives_the_same_vectors(tmp_path: Path) -> None:
    model, processor = materials.model()
    deeper = deepened(model)
    assert deeper.config.text_config.num_hidden_layers == materials.SHAPE.text_layers + 1
    assert model.config.text_config.num_hidden_layers == materials.SHAPE.text_layers
    ids, mask = torch.tensor([[2, 20, 30, 0, 0]]), torch.ones(1, 5, dtype=torch.bool)
    assert torch.equal(forward.ask(deeper, ids, mask), forward.ask(model, ids, mask))
    seen = torch.randn(1, 12, materials.SHAPE.hidden)
    prompt = architecture.prompt(processor)
    before = forward.read(model, seen, _PLACES, prompt)[1]
    assert torch.equal(forward.read(deeper, seen, _PLACES, prompt)[1], before)
    # What is saved is a ColPali as any other, with the new layer in it.
    architecture.save(deeper, processor, tmp_path)
    loaded, _ = architecture.load(tmp_path)
    assert len(loaded.model.model.language_model.layers) == materials.SHAPE.text_layers + 1


def test_the_new_layer_can_learn() -> None:
    deeper = deepened(materials.model()[0])
    ids, mask = torch.tensor([[2, 20, 30, 0, 0]]), torch.ones(1, 5, dtype=torch.bool)
    layer = deeper.model.model.language_model.layers[-1]
    torch.autograd.backward(forward.ask(deeper, ids, mask)[0, 1, 0])
    for first in (layer.self_attn.o_proj, layer.mlp.down_proj):
        assert first.weight.grad is not None and first.weight.grad.abs().max() > 0


def test_the_same_seed_gives_the_same_layer() -> None:
    model = materials.model()[0]
    first, second, other = (deepened(model, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(weights, second[name]) for name, weights in first.items())
    assert any(not torch.equal(weights, other[name]) for name, weights in first.items())
