"""Words and phrases say themselves and nothing else.

MaxSim adds up what every token finds, and bos and the ten pads behind a query count as much as its
words. Of a question six pads name other words (:mod:`.naming`); of words and phrases, which are
looked for as they are, all of these only say again, and less well, what pieces say already, and a
page may win by them that has less of the words. Here they learn to find the same on every page.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from colpali_engine.models import ColPali, ColPaliProcessor
from torch import Tensor

from colpali_serve.training.learning.asked import QUERY_PADS
from colpali_serve.training.learning.naming import equally_long
from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.learning.query_side import QuerySide
from colpali_serve.training.model import architecture, forward
from colpali_serve.training.model.spare_directions import Spare
from colpali_serve.training.seeds import seeded
from colpali_serve.training.whole_files import whole

STATE = "hushing.pt"
_SAVE_EVERY = 100
# How much each loss counts.
_WEIGHTS = {"heard": 1.0, "moved": 4.0, "drift": 2.0}
_QUESTIONS, _FRAGMENTS = 64, 128


def idle(mask: Tensor) -> Tensor:
    """Bos and pads, bool (queries, length).

    Args:
        mask: bool of that shape, true for real tokens: bos first, pads last.

    >>> idle(torch.ones(1, 3 + QUERY_PADS, dtype=torch.bool))[0, :4].tolist()
    [True, False, False, True]
    """
    places = torch.arange(mask.shape[1])
    found = mask & (places >= mask.sum(1, keepdim=True) - QUERY_PADS)
    found[:, 0] = True
    return found


class Husher:
    """Teaches queries that are words or phrases to say nothing else.

    Args:
        base: a trained model; it stays as it is.
        processor: saved with it.
        queries: asks for words and phrases of pages.
        questions: texts that are asked as well, and that stay what they are.
        spare: directions of layers that learn, by their names.
        silent: float32 (dim,): the vector that finds the same on every page.
        seed: of everything by chance.
        folder: where the checkpoint is written, and the state to go on from.
    """

    def __init__(
        self,
        base: ColPali,
        processor: ColPaliProcessor,
        queries: PageQueries,
        questions: Sequence[str],
        spare: Mapping[str, Spare],
        silent: Tensor,
        seed: int,
        folder: Path,
    ) -> None:
        base.requires_grad_(False)
        self._base, self._processor, self._queries = base, processor, queries
        self._questions = sorted(questions, key=len)
        self._silent, self._seed, self._folder = silent, seed, folder
        self.model = copy.deepcopy(base)
        self._side = QuerySide(self.model, processor, spare)
        self.step = 0
        self._resume()

    def run(self, steps: int, rate: float, report: Callable[[int, dict[str, float]], None]) -> None:
        """Train, from where the folder's state left off.

        Args:
            steps: in all.
            rate: learning rate at first; it falls to nothing in a straight line.
            report: called after each step with its number and its losses.
        """
        for step in range(self.step, steps):
            texts, fragments = self._texts(random.Random(seeded(self._seed, "hushing", step)))
            ids, mask = self._queries.tokens(texts)
            asked = forward.ask(self.model, ids, mask)
            with torch.no_grad():
                before = forward.ask(self._base, ids, mask)
            hushed = idle(mask) & fragments[:, None]
            heard = (1 - asked[hushed] @ self._silent).mean()
            moved = (1 - (asked * before).sum(2))[mask & ~hushed].mean()
            drift = self._side.drift()
            losses = {"heard": heard, "moved": moved, "drift": drift}
            torch.autograd.backward([_WEIGHTS[name] * loss for name, loss in losses.items()])
            self._side.learn(rate, step, steps)
            self.step = step + 1
            report(self.step, {name: float(loss.detach()) for name, loss in losses.items()})
            if self.step % _SAVE_EVERY == 0 or self.step == steps:
                self.save()

    def _texts(self, rng: random.Random) -> tuple[list[str], Tensor]:
        """Questions about equally long, then fragments.

        Returns:
            The texts, and which are fragments, bool (texts,).
        """
        some = equally_long(rng, len(self._questions), _QUESTIONS)
        texts = [self._questions[one] for one in some]
        texts += self._queries.fragments(rng, _FRAGMENTS)
        return texts, torch.arange(len(texts)) >= len(some)

    def save(self) -> None:
        """Write the checkpoint, and all that is needed to go on from it."""
        architecture.save(self.model, self._processor, self._folder)
        with whole(self._folder / STATE) as unfinished:
            torch.save({"step": self.step, **self._side.state()}, unfinished)

    def _resume(self) -> None:
        path = self._folder / STATE
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.step = int(state["step"])
            self._side.resume(state)
