"""Queries learn alone, against pages that stay as they are: to find theirs, and to name words.

A page's vectors do not depend on the table of token embeddings, but for the few tokens of its
prompt. With those left alone, the table can learn while every page keeps its vectors to the bit: a
page is embedded once, and a query is ranked against dozens of real ones for the price of a matrix
product.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from colpali_engine.models import ColPali, ColPaliProcessor
from torch import Tensor

from colpali_serve.training.learning.naming import Naming
from colpali_serve.training.learning.page_queries import Batch, PageQueries, best_on
from colpali_serve.training.model import architecture, forward
from colpali_serve.training.seeds import seeded
from colpali_serve.training.whole_files import whole

STATE = "tuning.pt"
HELD_OUT = 100
"""The last pages are never learned from: what is found on them is what the rest is good for."""
_PAGES, _NEIGHBOURS, _FOUND_AMONG = 32, 4, 64
_WARMUP, _SAVE_EVERY = 30, 250
# How much it counts that pads name words, and that the rest of a query stays as it was.
_NAMED, _MOVED = 0.5, 10.0
_NEVER = -1e4


class QueryTuner:
    """Teaches the table of token embeddings.

    Args:
        model: of a trained checkpoint; only its table changes.
        processor: saved with it.
        vectors: bfloat16 (pages, vectors, dim): pages as the model embeds them, those of one
            manual one after another.
        queries: asks about these pages.
        naming: says which words pads should name.
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
        seed: int,
        folder: Path,
    ) -> None:
        self._model, self._processor, self._vectors = model, processor, vectors
        self._queries, self._naming = queries, naming
        self._seed, self._folder = seed, folder
        model.requires_grad_(False)
        self._table = model.model.model.language_model.embed_tokens.weight.requires_grad_(True)
        self._start = self._table.detach().float().clone()
        self._kept = torch.unique(architecture.prompt(processor))
        self._master = torch.nn.Parameter(self._start.clone())
        self._scale = torch.nn.Parameter(torch.tensor(4.0).log())
        self._optimiser = torch.optim.AdamW(
            [self._master, self._scale], betas=(0.9, 0.98), weight_decay=0.0
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
        learned = len(self._queries) - HELD_OUT
        for step in range(self.step, steps):
            rng = random.Random(seeded(self._seed, "tuning", step))
            batch = self._queries.batch(rng, range(learned), _NEIGHBOURS, _PAGES)
            ranked, _ = self._ranked(batch)
            named, moved = self._naming.losses(self._model, rng)
            torch.autograd.backward(ranked + _NAMED * named + _MOVED * moved)
            assert self._table.grad is not None
            self._master.grad, self._table.grad = self._table.grad.float(), None
            warm = min(1.0, (step + 1) / _WARMUP)
            self._optimiser.param_groups[0]["lr"] = rate * warm * (1 - step / steps)
            self._optimiser.step()
            self._optimiser.zero_grad()
            self._round()
            self.step = step + 1
            losses = {"rank": ranked, "named": named, "moved": moved}
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
        scores = batch.scores(best_on(tokens, pages, self._table.dtype))
        logits = (scores * self._scale.exp()).masked_fill(batch.also, _NEVER)
        right = (logits.argmax(1) == batch.answer).float().mean()
        return F.cross_entropy(logits, batch.answer), float(right)

    @torch.no_grad()
    def _round(self) -> None:
        """Take the master's values over into the table, but for what pages have of it."""
        self._master[self._kept] = self._start[self._kept]
        self._table.copy_(self._master)

    def save(self) -> None:
        """Write the checkpoint, and all that is needed to go on from it."""
        architecture.save(self._model, self._processor, self._folder)
        state = {
            "step": self.step,
            "master": self._master.detach(),
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
        self._master.copy_(state["master"])
        self._scale.copy_(state["scale"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._round()
