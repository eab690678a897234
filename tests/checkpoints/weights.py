"""Random weights, large enough that a wrong mask or a lost key moves the output."""

from typing import Any

import torch

from tests.checkpoints.blank import Blank

# The library's own 0.02 leaves every vector of a two-layer model almost the same.
STD = 0.08


def draw_model(blank: Blank, *, seed: int) -> Any:
    """Return the blank's model with weights drawn from `seed`, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = blank.model_class(blank.config).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim >= 2 and "norm" not in name:
                    parameter.normal_(std=STD)
    return model
