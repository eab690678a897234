"""Two optimisers over float32 masters of the weights that compute."""

from __future__ import annotations

from typing import Any

import torch
from colpali_engine.models import ColPali
from torch import Tensor, nn

from colpali_serve.training.learning.losses import Heads
from colpali_serve.training.learning.muon import Muon

_LARGEST_GRADIENT = 2.0


class Optimiser:
    """Muon for the matrices of the layers, AdamW for everything else.

    The weights that compute may be bfloat16: a small step would vanish in their rounding, so each
    has a float32 master, which takes the steps and is rounded into it.

    Args:
        model: its output embeddings, which ColPali does not use, stay as they are.
        heads: learn with it, in the same dtype.
    """

    def __init__(self, model: ColPali, heads: Heads) -> None:
        model.model.lm_head.requires_grad_(False)
        matrices, others = list[nn.Parameter](), list[nn.Parameter]()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                layered = parameter.dim() == 2 and ".layers." in name
                (matrices if layered else others).append(parameter)
        others += heads.parameters()
        self._weights: list[nn.Parameter] = [*matrices, *others]
        self._masters = [weight.detach().float().clone() for weight in self._weights]
        count = len(matrices)
        self._matrices = Muon(self._masters[:count], heads.dtype)
        self._others = torch.optim.AdamW(
            self._masters[count:], betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )

    def step(self, matrix_rate: float, other_rate: float) -> float:
        """Take one step from the weights' gradients, and forget them.

        Returns:
            The norm of all gradients before it is cut. A step that is not finite is not taken.
        """
        for master, weight in zip(self._masters, self._weights, strict=True):
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        norm = torch.nn.utils.clip_grad_norm_(self._masters, _LARGEST_GRADIENT)
        if torch.isfinite(norm):
            self._matrices.step(matrix_rate)
            self._others.param_groups[0]["lr"] = other_rate
            self._others.step()
            self._round()
        return float(norm)

    @torch.no_grad()
    def _round(self) -> None:
        for master, weight in zip(self._masters, self._weights, strict=True):
            weight.copy_(master)

    def state(self) -> dict[str, Any]:
        """What is needed to go on from here."""
        return {
            "masters": self._masters,
            "matrices": self._matrices.state(),
            "others": self._others.state_dict(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state, the weights included."""
        for master, saved in zip(self._masters, state["masters"], strict=True):
            master.copy_(saved)
        self._matrices.resume(state["matrices"])
        self._others.load_state_dict(state["others"])
        self._round()

    def masters(self) -> list[Tensor]:
        """The float32 weights, in the order of the model's parameters that learn."""
        return self._masters
