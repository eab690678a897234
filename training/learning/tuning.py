"""Queries learn alone, against pages that stay as they are: to find theirs, and to name words.

Pages keep their vectors, nearly (:mod:`.query_side`): a page is embedded once, and a query is
ranked against dozens of real ones for the price of a matrix product.
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
from colpali_serve.training.learning.query_side import QuerySide
from colpali_serve.training.model import architecture, forward
from colpali_serve.training.model.spare_directions import Spare
from colpali_serve.training.seeds import seeded
from colpali_serve.training.whole_files import whole

STATE = "tuning.pt"
HELD_OUT = 100
"""The last pages are never learned from: what is found on them is what the rest is good for."""
_PAGES, _NEIGHBOURS, _FOUND_AMONG = 32, 4, 64
_SAVE_EVERY = 250
# How much each loss counts. Ranking costs as much as the rest, and teaches less.
_WEIGHTS = {"rank": 1.0, "named": 1.0, "moved": 8.0, "silent": 1.0, "drift": 3.0}
_RANK_EVERY = 3
_NEVER = -1e4


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
        self._dtype = next(model.parameters()).dtype
        self._scale = Parameter(torch.tensor(4.0).log())
        self._side = QuerySide(model, processor, spare, [self._scale])
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
            losses["drift"] = self._side.drift()
            torch.autograd.backward([_WEIGHTS[name] * loss for name, loss in losses.items()])
            self._side.learn(rate, step, steps)
            self.step = step + 1
            report(self.step, {name: float(loss.detach()) for name, loss in losses.items()})
            if self.step % _SAVE_EVERY == 0 or self.step == steps:
                self.save()

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
        state = {"step": self.step, "scale": self._scale.detach(), **self._side.state()}
        with whole(self._folder / STATE) as unfinished:
            torch.save(state, unfinished)

    @torch.no_grad()
    def _resume(self) -> None:
        path = self._folder / STATE
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.step = int(state["step"])
        self._scale.copy_(state["scale"])
        self._side.resume(state)
