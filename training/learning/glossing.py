"""Patches say what their words mean, where nobody who looks for words sees it.

A patch's state has more directions than the projection looks at. The MLP of a new layer writes
there what a word means; vectors of patches stay as they are, but for a little of the final norm.
The layer behind can gather it over the page: meanings add up, words do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from colpali_engine.models import ColPali
from torch import Tensor, nn

from colpali_serve.training.learning.labels import shown
from colpali_serve.training.model import forward
from colpali_serve.training.model.architecture import GRID
from colpali_serve.training.pages.canvas import Word

_BATCH, _RATE, _WARMUP = 4096, 3e-3, 50
_BLANK_SHARE = 0.08
# What is written may be as large as what stands there; larger costs.
_SIZE, _LARGE, _LARGEST = 0.03, 0.03, 2.0
_LEAST_ACROSS, _LEAST_DOWN, _MUCH = 0.05, 0.2, 0.1
# The norm of what is gathered over a page, which must outweigh what its prompt says by itself.
_OUTWEIGHS, _EVENLY = 150.0, 0.3


def unseen(model: ColPali) -> Tensor:
    """Directions of a state that its vector does not show: float32 (hidden, hidden - dim)."""
    norm = 1 + model.model.model.language_model.norm.weight.detach()
    shows = model.custom_text_proj.weight.detach() * norm
    directions: Tensor = torch.linalg.svd(shows, full_matrices=True).Vh
    return directions[len(shows) :].T.contiguous()


def told(
    words: Sequence[Word], meaning: Callable[[str], np.ndarray | None]
) -> tuple[Tensor, Tensor]:
    """What each patch of a page should say, so that all of them together say what the words do.

    Args:
        words: of the page, with their boxes.
        meaning: of a text, float32 (dim,); None if it is not known.

    Returns:
        float32 (patches, dim), and bool (patches,): those that show text, all of it known.
    """
    boxes = np.array([(w.left, w.top, w.right, w.bottom) for w in words], np.float32)
    patch, which, share = shown(boxes.reshape(-1, 4), GRID, GRID, _LEAST_ACROSS, _LEAST_DOWN)
    total = np.bincount(which, share, len(words))
    part = share / np.maximum(total[which], 1e-6)
    meanings = [meaning(word.text) for word in words]
    known = np.array([found is not None for found in meanings])
    dim = next((len(found) for found in meanings if found is not None), 0)
    rows = np.stack([np.zeros(dim) if found is None else found for found in meanings])
    says = torch.zeros(GRID * GRID, dim)
    says.index_add_(
        0, torch.from_numpy(patch), torch.from_numpy(rows[which] * part[:, None]).float()
    )
    clear = torch.zeros(GRID * GRID, dtype=torch.bool)
    clear[patch] = True
    clear[patch[~known[which] & (part > _MUCH)]] = False
    return says, clear


class Glosser:
    """Teaches the MLP of a model's last layer.

    Args:
        model: float32, whose last layer is new; only that layer changes.
        states: float16 (pages, patches + prompt, hidden) before it.
        says: float16 (pages, patches, dim), of :func:`told`.
        clear: bool (pages, patches), likewise.
        seed: of everything by chance.
    """

    def __init__(
        self, model: ColPali, states: Tensor, says: Tensor, clear: Tensor, seed: int
    ) -> None:
        model.requires_grad_(False)
        self._layer = model.model.model.language_model.layers[-1]
        self._states, self._says = states, says
        self._random = torch.Generator().manual_seed(seed)
        blank = says.abs().amax(2) == 0
        drawn = torch.rand(clear.shape, generator=self._random) < _BLANK_SHARE
        self._asked = (clear | (blank & drawn)).nonzero()
        self._size = float(1 / says[clear].float().square().mean().sqrt())
        self._unseen = unseen(model)
        inner = self._layer.mlp.down_proj.weight.shape[1]
        dim, hidden = says.shape[2], states.shape[2]
        self._written = nn.Parameter(
            torch.randn(self._unseen.shape[1], inner, generator=self._random) * 0.1
        )
        self.readout = nn.Parameter(torch.randn(dim, hidden, generator=self._random) * 0.02)
        """What reads the meaning from a normed state: float32 (dim, hidden)."""
        mlp = self._layer.mlp
        self._learning = [
            mlp.gate_proj.weight, mlp.up_proj.weight, self._layer.post_attention_layernorm.weight,
        ]  # fmt: skip
        for parameter in self._learning:
            parameter.requires_grad_(True)

    def run(self, steps: int, report: Callable[[int, float], None]) -> None:
        """Train; a few minutes.

        Args:
            steps: batches of patches.
            report: called after each with its number and the share of meaning still missed.
        """
        optimiser = torch.optim.AdamW(
            [*self._learning, self._written, self.readout], betas=(0.9, 0.98), weight_decay=0.0
        )
        for step in range(steps):
            some = self._asked[torch.randint(len(self._asked), (_BATCH,), generator=self._random)]
            state = self._states[some[:, 0], some[:, 1]].float()
            wanted = self._says[some[:, 0], some[:, 1]].float() * self._size
            more = self._more(state)
            missed = (self._read(state + more) - wanted).square().mean()
            ratio = more.square().sum(1) / state.square().sum(1)
            loss = missed + _SIZE * ratio.mean() + _LARGE * F.relu(ratio - _LARGEST).mean()
            torch.autograd.backward(loss)
            rate = _RATE * min(1.0, (step + 1) / _WARMUP) * (1 - step / steps)
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
            optimiser.zero_grad()
            report(step + 1, float(missed.detach() / wanted.square().mean()))
        with torch.no_grad():
            self._layer.mlp.down_proj.weight.copy_(self._unseen @ self._written)

    def _more(self, state: Tensor) -> Tensor:
        return forward.inner(self._layer, state) @ (self._unseen @ self._written).T

    def _read(self, state: Tensor) -> Tensor:
        return forward.rms(state, torch.zeros(state.shape[-1])) @ self.readout.T


@torch.no_grad()
def write(model: ColPali, states: Tensor) -> None:
    """Add to states what the MLP of the last layer writes there, page by page.

    Args:
        model: as a :class:`Glosser` left it.
        states: float16 (pages, patches + prompt, hidden); changed in place.
    """
    layer = model.model.model.language_model.layers[-1]
    for page in states:
        page += layer.mlp.down_proj(forward.inner(layer, page.float()))


@torch.no_grad()
def gathering(model: ColPali, readout: Tensor, states: Tensor) -> None:
    """Let the last layer's values be what is read from states, and let it look at all of them.

    Args:
        model: whose last layer is new.
        readout: float32 (dim, hidden), of a :class:`Glosser`.
        states: float16 (pages, patches + prompt, hidden), as :func:`write` left them.
    """
    attention = model.model.model.language_model.layers[-1].self_attn
    none = torch.zeros(readout.shape[1])
    means = [(forward.rms(page.float(), none) @ readout.T).mean(0).norm() for page in states]
    copies = attention.v_proj.weight.shape[0] // len(readout)
    scale = _OUTWEIGHS / torch.stack(means).mean()
    attention.v_proj.weight.copy_(readout.repeat(copies, 1) * scale)
    for looks in (attention.q_proj, attention.k_proj):
        looks.weight.mul_(_EVENLY)
