"""What of real pages enters the layers that queries pass through too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from colpali_engine.models import ColPali
from torch import Tensor

from colpali_serve.training.learning.page_vectors import embedded
from colpali_serve.training.model.architecture import GRID
from colpali_serve.training.model.spare_directions import Spare, inputs_of, linears, spare
from colpali_serve.training.whole_files import whole

_SHARE = 0.01
"""So much of pages lies along the directions that are called spare, at most."""
_PATCHES = 24
"""Of each page so many rows are kept, and those of its prompt."""


@torch.no_grad()
def spare_directions(
    model: ColPali,
    prompt: Tensor,
    pages: Sequence[np.ndarray],
    seed: int,
    kept: Path,
    done: Callable[[], None],
) -> dict[str, Spare]:
    """Directions that pages hardly have, by layer, or what an earlier run left of them.

    Args:
        model: whose layers they are.
        prompt: int64 (prompt tokens,): what the processor writes behind the patches.
        pages: uint8 (768, 768) each, grey.
        seed: of the choice of rows.
        kept: file; what learned along some directions means nothing along others, and which of
            equal ones are found is up to the machine.
        done: called after each page.
    """
    if kept.exists():
        return {name: Spare(**one) for name, one in torch.load(kept, weights_only=True).items()}
    generator = torch.Generator().manual_seed(seed)
    moments: dict[str, Tensor] = {}
    looked_at: dict[str, list[Tensor]] = {}
    with inputs_of(model) as inputs:
        for _ in embedded(model, prompt, pages):
            patches = torch.randperm(GRID * GRID, generator=generator)[:_PATCHES]
            some = torch.cat([patches, GRID * GRID + torch.arange(len(prompt))])
            for name, entered in inputs.items():
                rows = entered[0].float().cpu()
                moments[name] = moments.get(name, 0) + rows.T @ rows / len(rows)
                looked_at.setdefault(name, []).append(rows[some])
            done()
    found = {
        name: spare(
            moments[name] / len(pages),
            torch.cat(looked_at[name]),
            part.weight.detach().float().cpu(),
            _SHARE,
        )
        for name, part in linears(model).items()
    }
    with whole(kept) as unfinished:
        torch.save({name: vars(one) for name, one in found.items()}, unfinished)
    return found
