"""What of a model only queries use, and how that learns while pages keep their vectors, nearly.

A page's vectors do not depend on the table of token embeddings, but for the few tokens of its
prompt, and hardly on how layers treat directions that pages hardly have. With those tokens left
alone, table and layers can learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from colpali_engine.models import ColPali, ColPaliProcessor
from torch import Tensor
from torch.nn import Parameter

from colpali_serve.training.model import architecture
from colpali_serve.training.model.spare_directions import Spare, linears

_WARMUP = 30
# The learning rate of layers beside the table's.
_LAYERS_RATE = 0.67
_LARGEST_GRADIENT = 5.0


class _Table:
    """All rows of a weight but some learn, in float32 whatever the weight is in.

    Args:
        weight: of the model.
        fixed: int64: rows that stay as they are.
    """

    def __init__(self, weight: Tensor, fixed: Tensor) -> None:
        self._weight, self._fixed = weight.requires_grad_(True), fixed
        self.master = Parameter(weight.detach().float().clone())
        self._kept = self.master.detach()[fixed]

    def take_gradient(self) -> None:
        assert self._weight.grad is not None
        self.master.grad, self._weight.grad = self._weight.grad.float(), None

    @torch.no_grad()
    def write(self) -> None:
        self.master[self._fixed] = self._kept
        self._weight.copy_(self.master)


class _Layer:
    """A weight learns along spare directions, in float32 whatever the weight is in.

    Args:
        weight: of the model.
        spare: the directions of its inputs.
    """

    def __init__(self, weight: Tensor, spare: Spare) -> None:
        self._weight, self._spare = weight.requires_grad_(True), spare
        self._start = weight.detach().float().clone()
        self.master = Parameter(self._start.new_zeros(len(weight), spare.directions.shape[1]))

    def take_gradient(self) -> None:
        assert self._weight.grad is not None and self.master.grad is not None
        self.master.grad += self._weight.grad.float() @ self._spare.directions
        self._weight.grad = None

    @torch.no_grad()
    def write(self) -> None:
        self._weight.copy_(self._start + self.master @ self._spare.directions.T)

    def moved(self) -> Tensor:
        """What it does to pages."""
        return self._spare.moved(self.master)


class QuerySide:
    """The table of token embeddings, and layers along directions that pages hardly have.

    Args:
        model: of a trained checkpoint; nothing else of it learns.
        processor: saved with it.
        spare: directions of layers that learn, by their names.
        beside: what else learns, at the table's rate.
    """

    def __init__(
        self,
        model: ColPali,
        processor: ColPaliProcessor,
        spare: Mapping[str, Spare],
        beside: Sequence[Parameter] = (),
    ) -> None:
        model.requires_grad_(False)
        # Pages have the prompt's rows.
        prompt = torch.unique(architecture.prompt(processor))
        learned = _Table(model.model.model.language_model.embed_tokens.weight, prompt)
        layers = linears(model)
        self._layers = [_Layer(layers[name].weight, one) for name, one in spare.items()]
        self._parts: list[_Table | _Layer] = [learned, *self._layers]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": [learned.master, *beside]},
                {"params": [layer.master for layer in self._layers]},
            ],
            betas=(0.9, 0.98),
            weight_decay=0.0,
        )

    def drift(self) -> Tensor:
        """What the layers' changes do to pages, as shares of what the layers make of them."""
        return torch.stack([layer.moved() for layer in self._layers]).sum()

    def learn(self, rate: float, step: int, steps: int) -> None:
        """Take one step from the weights' gradients, and forget them.

        Args:
            rate: the highest; it is reached after some steps, and falls to nothing in a straight
                line.
            step: which, from 0.
            steps: of how many.
        """
        for part in self._parts:
            part.take_gradient()
        torch.nn.utils.clip_grad_norm_([part.master for part in self._parts], _LARGEST_GRADIENT)
        table, layers = self._optimiser.param_groups
        table["lr"] = rate * min(1.0, (step + 1) / _WARMUP) * (1 - step / steps)
        layers["lr"] = table["lr"] * _LAYERS_RATE
        self._optimiser.step()
        self._optimiser.zero_grad()
        for part in self._parts:
            part.write()

    def state(self) -> dict[str, Any]:
        """What is needed to go on from here."""
        masters = [part.master.detach() for part in self._parts]
        return {"masters": masters, "optimiser": self._optimiser.state_dict()}

    @torch.no_grad()
    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state, the model's weights included."""
        for part, master in zip(self._parts, state["masters"], strict=True):
            part.master.copy_(master)
            part.write()
        self._optimiser.load_state_dict(state["optimiser"])
