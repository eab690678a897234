"""Queries learn alone, against pages that stay as they are: to find theirs, and to name words.

A page's vectors do not depend on the table of token embeddings, but for the few tokens of its
prompt, and hardly on how layers treat directions that pages hardly have. With those tokens left
alone, table and layers can learn while pages keep their vectors, nearly: a page is embedded once,
and a query is ranked against dozens of real ones for the price of a matrix product.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from colpali_engine.models import ColPali, ColPaliProcessor
from torch import Tensor
from torch.nn import Parameter

from colpali_serve.training.learning.naming import Naming
from colpali_serve.training.learning.page_queries import Batch, PageQueries, best_on
from colpali_serve.training.model import architecture, forward
from colpali_serve.training.model.spare_directions import Spare, linears
from colpali_serve.training.seeds import seeded
from colpali_serve.training.whole_files import whole

STATE = "tuning.pt"
HELD_OUT = 100
"""The last pages are never learned from: what is found on them is what the rest is good for."""
_PAGES, _NEIGHBOURS, _FOUND_AMONG = 32, 4, 64
_WARMUP, _SAVE_EVERY = 30, 250
# How much each loss counts. Ranking costs as much as the rest, and teaches less.
_WEIGHTS = {"rank": 1.0, "named": 1.0, "moved": 8.0, "silent": 1.0, "drift": 3.0}
_RANK_EVERY = 3
# The learning rate of layers beside the table's.
_LAYERS_RATE = 0.67
_LARGEST_GRADIENT = 5.0
_NEVER = -1e4


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


class QueryTuner:
    """Teaches the table of token embeddings, and layers what queries have to themselves.

    Args:
        model: of a trained checkpoint.
        processor: saved with it.
        vectors: bfloat16 (pages, vectors, dim): pages as the model embeds them, those of one
            manual one after another.
        queries: asks about these pages.
        naming: says which words pads should name.
        spare: directions of layers that learn, by their names.
        seed: of everything by chance.
        folder: where the checkpoint is written, and the state to go on from.
    """

    def __init__(
        self,
        model: ColPali,
        processor: ColPaliProcessor,
        vectors: Tensor,
        queries: PageQueries,
        naming: Naming,
        spare: Mapping[str, Spare],
        seed: int,
        folder: Path,
    ) -> None:
        self._model, self._processor, self._vectors = model, processor, vectors
        self._queries, self._naming = queries, naming
        self._seed, self._folder = seed, folder
        model.requires_grad_(False)
        table = model.model.model.language_model.embed_tokens.weight
        self._dtype = table.dtype
        # Pages have these rows.
        learned = _Table(table, torch.unique(architecture.prompt(processor)))
        layers = linears(model)
        self._layers = [_Layer(layers[name].weight, one) for name, one in spare.items()]
        self._parts: list[_Table | _Layer] = [learned, *self._layers]
        self._scale = Parameter(torch.tensor(4.0).log())
        self._optimiser = torch.optim.AdamW(
            [
                {"params": [learned.master, self._scale]},
                {"params": [layer.master for layer in self._layers]},
            ],
            betas=(0.9, 0.98),
            weight_decay=0.0,
        )
        self.step = 0
        self._resume()

    def run(self, steps: int, rate: float, report: Callable[[int, dict[str, float]], None]) -> None:
        """Train, from where the folder's state left off.

        Args:
            steps: in all.
            rate: learning rate at first; it falls to nothing in a straight line.
            report: called after each step with its number and its losses.
        """
        learned = range(len(self._queries) - HELD_OUT)
        for step in range(self.step, steps):
            rng = random.Random(seeded(self._seed, "tuning", step))
            losses = self._naming.losses(self._model, rng)
            if step % _RANK_EVERY == 0:
                batch = self._queries.batch(rng, learned, _NEIGHBOURS, _PAGES)
                losses["rank"], _ = self._ranked(batch)
            losses["drift"] = torch.stack([layer.moved() for layer in self._layers]).sum()
            torch.autograd.backward([_WEIGHTS[name] * loss for name, loss in losses.items()])
            warm = min(1.0, (step + 1) / _WARMUP)
            self._learn(rate * warm * (1 - step / steps))
            self.step = step + 1
            report(self.step, {name: float(loss.detach()) for name, loss in losses.items()})
            if self.step % _SAVE_EVERY == 0 or self.step == steps:
                self.save()

    def _learn(self, rate: float) -> None:
        for part in self._parts:
            part.take_gradient()
        torch.nn.utils.clip_grad_norm_([part.master for part in self._parts], _LARGEST_GRADIENT)
        table, layers = self._optimiser.param_groups
        table["lr"], layers["lr"] = rate, rate * _LAYERS_RATE
        self._optimiser.step()
        self._optimiser.zero_grad()
        for part in self._parts:
            part.write()

    @torch.no_grad()
    def found(self) -> float:
        """The share of queries about pages held out that find their page first among those."""
        rng = random.Random(self._seed)
        held = range(len(self._queries) - HELD_OUT, len(self._queries))
        batches = [self._queries.batch(rng, held, HELD_OUT, _FOUND_AMONG) for _ in range(4)]
        return sum(self._ranked(batch)[1] for batch in batches) / len(batches)

    def _ranked(self, batch: Batch) -> tuple[Tensor, float]:
        tokens = batch.tokens_of(forward.ask(self._model, batch.ids, batch.mask))
        pages = (self._vectors[number] for number in batch.pages)
        scores = batch.scores(best_on(tokens, pages, self._dtype))
        logits = (scores * self._scale.exp()).masked_fill(batch.also, _NEVER)
        right = (logits.argmax(1) == batch.answer).float().mean()
        return F.cross_entropy(logits, batch.answer), float(right)

    def save(self) -> None:
        """Write the checkpoint, and all that is needed to go on from it."""
        architecture.save(self._model, self._processor, self._folder)
        state = {
            "step": self.step,
            "masters": [part.master.detach() for part in self._parts],
            "scale": self._scale.detach(),
            "optimiser": self._optimiser.state_dict(),
        }
        with whole(self._folder / STATE) as unfinished:
            torch.save(state, unfinished)

    @torch.no_grad()
    def _resume(self) -> None:
        path = self._folder / STATE
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.step = int(state["step"])
        for part, master in zip(self._parts, state["masters"], strict=True):
            part.master.copy_(master)
            part.write()
        self._scale.copy_(state["scale"])
        self._optimiser.load_state_dict(state["optimiser"])
