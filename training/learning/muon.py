"""Muon, in whatever dtype a machine multiplies fast.

`torch.optim.Muon` makes its steps orthogonal in bfloat16 and nothing else, for which a CPU without
it takes a hundred times as long as for float32. In bfloat16 both take the same steps to the bit (a
test compares them). Keller Jordan's article "Muon: An optimizer for hidden layers in neural
networks" has the reasons for all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Coefficients of the quintic: singular values end up between 0.7 and 1.2 in few iterations.
_LINEAR, _CUBIC, _QUINTIC = 3.4445, -4.7750, 2.0315
_ITERATIONS = 4
_MOMENTUM, _DECAY = 0.95, 0.02
# A step has the size that AdamW's would have, whatever the shape of its matrix.
_ADAMS_SIZE = 0.2
_SMALLEST_NORM = 1e-7


class Muon:
    """Steps along the momentum of gradients, with all singular values made nearly equal.

    Args:
        matrices: float32, two-dimensional; their gradients are read from `grad`.
        dtype: what steps are made orthogonal in.
    """

    def __init__(self, matrices: Sequence[Tensor], dtype: torch.dtype) -> None:
        self.matrices, self._dtype = list(matrices), dtype
        self._momenta = [torch.zeros_like(matrix) for matrix in self.matrices]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Take one step; a matrix without a gradient stays."""
        for matrix, momentum in zip(self.matrices, self._momenta, strict=True):
            if matrix.grad is None:
                continue
            momentum.lerp_(matrix.grad, 1 - _MOMENTUM)
            way = orthogonal(matrix.grad.lerp(momentum, _MOMENTUM), self._dtype)
            matrix.mul_(1 - rate * _DECAY)
            matrix.add_(way, alpha=-rate * _ADAMS_SIZE * max(matrix.shape) ** 0.5)

    def state(self) -> dict[str, Any]:
        """What is needed to go on from here, the matrices left out."""
        return {"momenta": self._momenta}

    @torch.no_grad()
    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for momentum, saved in zip(self._momenta, state["momenta"], strict=True):
            momentum.copy_(saved)


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """A matrix of the same singular vectors, whose singular values are all near 1.

    Args:
        matrix: (rows, columns).
        dtype: what it is computed in, and what comes out.
    """
    wide = len(matrix) <= matrix.shape[1]
    # A copy, always: what was given stays.
    made = (matrix if wide else matrix.T).to(dtype, copy=True)
    made.div_(made.norm().clamp(min=_SMALLEST_NORM))
    for _ in range(_ITERATIONS):
        square = made @ made.T
        update = torch.addmm(square, square, square, beta=_CUBIC, alpha=_QUINTIC)
        made = torch.addmm(made, update, made, beta=_LINEAR)
    return made if wide else made.T
