"""Directions of a layer's input that pages hardly have, and along which queries may learn.

Pages and queries pass through the same layers of the language model. What a layer makes of a page
comes from the directions in which the page's rows lie, and those are few. A weight that changes
along the others alone says something new of queries, and nearly the same of pages as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from colpali_engine.models import ColPali
from torch import Tensor
from torch.nn import Linear


@dataclass(frozen=True)
class Spare:
    """The spare directions of one layer's input.

    Attributes:
        directions: float32 (inputs, directions), orthonormal.
        rows: float32 (rows, directions): what some rows of pages have along them.
        made: mean squared length of what the layer makes of these rows.
    """

    directions: Tensor
    rows: Tensor
    made: float

    def moved(self, change: Tensor) -> Tensor:
        """What a change does to pages, as a share of what the layer makes of them (squared).

        Args:
            change: float32 (outputs, directions), added to the weight along these directions.
        """
        return (self.rows @ change.T).square().sum(1).mean() / self.made


def spare(moment: Tensor, rows: Tensor, weight: Tensor, share: float) -> Spare:
    """The directions that have the least of pages.

    Args:
        moment: float32 (inputs, inputs): mean of the outer products of pages' rows.
        rows: float32 (rows, inputs), some of them.
        weight: float32 (outputs, inputs), the layer's.
        share: of the rows' mean squared length, so much lies along these directions at most.
    """
    values, vectors = torch.linalg.eigh(moment)
    along = values.clamp(min=0).cumsum(0) / values.sum()
    directions = vectors[:, along < share].contiguous()
    made = float((rows @ weight.T).square().sum(1).mean())
    return Spare(directions, rows @ directions, made)


def linears(model: ColPali) -> dict[str, Linear]:
    """The layers that a query passes through, by their names in the model."""
    prefix = "model.model.language_model.layers."
    return {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, Linear) and (name.startswith(prefix) or name == "custom_text_proj")
    }


@contextmanager
def inputs_of(model: ColPali) -> Iterator[dict[str, Tensor]]:
    """What last entered each of these layers, by name, while the context is open."""
    found: dict[str, Tensor] = {}

    def keeper(name: str) -> Any:
        return lambda _, given: found.__setitem__(name, given[0].detach())

    hooks = [part.register_forward_pre_hook(keeper(name)) for name, part in linears(model).items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
