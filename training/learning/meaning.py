"""What a page means goes into the vectors of its prompt, and questions look for it there.

The rows behind a page's patches have read all of it and say nothing of their own. A last layer,
added to a model that reads already, gathers there what a sentence encoder makes of the page's
text, and leaves the patches alone; some of the pads behind a query learn to say what the encoder
makes of the query. So MaxSim adds closeness in meaning to words that are the same.

Only the new layer and the table of query tokens learn. What comes before them stays as it is, so
that each page is read once and its states are kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from colpali_engine.models import ColPali, ColPaliProcessor
from torch import Tensor, nn

from colpali_serve.training.learning.asked import QUERY_PADS
from colpali_serve.training.learning.page_queries import Batch, PageQueries, best_on
from colpali_serve.training.model import architecture, forward
from colpali_serve.training.seeds import seeded
from colpali_serve.training.semantics.meaning import ROWS
from colpali_serve.training.whole_files import whole

STATE = "meaning.pt"
HELD_OUT = 100
_SAYING_PADS = 5
"""Pads that say what a query means, of the ten; the others help its words as before."""
_ASKED, _PAGES, _RIVALS, _NEIGHBOURS = 128, 8, 24, 4
_STILL_PATCHES = 64
_LAYER_RATE, _TABLE_RATE, _LARGEST_GRADIENT = 3e-3, 3e-3, 1.0
_WARMUP, _SAVE_EVERY = 30, 250
_TEACHER, _SHARPNESS = 0.5, 15.0
# How much it counts that words keep their vectors.
_WORDS = 3.0
_NEVER = -1e4


@dataclass(frozen=True)
class Read:
    """Real pages, as far as the layers that do not learn have come, and what they mean.

    Attributes:
        states: float16 (pages, patches + prompt, hidden), before the last layer.
        patches: float16 (pages, patches, dim): the patches' vectors.
        meanings: float32 (pages, ROWS, dim), unit vectors.
    """

    states: Tensor
    patches: Tensor
    meanings: Tensor


@dataclass(frozen=True)
class Texts:
    """Texts of any kind that somebody could ask, and what they mean.

    Attributes:
        texts: each of them.
        meanings: float32 (texts, dim), unit vectors.
    """

    texts: Sequence[str]
    meanings: Tensor


class MeaningTuner:
    """Teaches the last layer and the table of query tokens.

    Args:
        model: float32, of a checkpoint whose last layer is new (`model.deepening`).
        base: what it was before: its queries say which vectors words keep.
        processor: saved with it.
        read: pages, those of one manual one after another.
        queries: asks about them.
        texts: to be understood without any page.
        understand: gives float32 (texts, dim), unit vectors, of questions that are made here.
        seed: of everything by chance.
        folder: where the checkpoint is written, and the state to go on from.
    """

    def __init__(
        self,
        model: ColPali,
        base: ColPali,
        processor: ColPaliProcessor,
        read: Read,
        queries: PageQueries,
        texts: Texts,
        understand: Callable[[Sequence[str]], Tensor],
        seed: int,
        folder: Path,
    ) -> None:
        self._model, self._base, self._processor = model, base, processor
        self._read, self._queries, self._texts = read, queries, texts
        self._understand, self._seed, self._folder = understand, seed, folder
        self._prompt = architecture.prompt(processor)
        language = model.model.model.language_model
        model.requires_grad_(False)
        base.requires_grad_(False)
        layer = language.layers[-1].requires_grad_(True)
        self._table = language.embed_tokens.weight.requires_grad_(True)
        # A page's prompt looks into the table, too: its tokens stay as they are.
        self._kept = torch.unique(self._prompt)
        self._scale = nn.Parameter(torch.tensor(4.0).log())
        self._optimiser = torch.optim.AdamW(
            [{"params": [*layer.parameters()], "rate": _LAYER_RATE},
             {"params": [self._table, self._scale], "rate": _TABLE_RATE}],
            betas=(0.9, 0.98), weight_decay=0.0,
        )  # fmt: skip
        # Texts of one length are asked together: what is padded costs as much as what is not.
        shuffled = random.Random(seed).sample(range(len(texts.texts)), len(texts.texts))
        self._by_length = sorted(shuffled, key=lambda text: len(texts.texts[text]) // 4)
        self._places = torch.arange(architecture.GRID**2)[None]
        count, dim = len(read.states), read.patches.shape[2]
        # What the prompts of pages that do not learn in a step said when they last did.
        self._rows = torch.zeros(count, ROWS, dim)
        self.step = 0
        self._resume()

    def run(self, steps: int, ranked: int, report: Callable[[int, dict[str, float]], None]) -> None:
        """Train, from where the folder's state left off.

        Args:
            steps: in all; rates fall to nothing in a straight line.
            ranked: from this step on pages are ranked as well.
            report: called after each step with its number and its losses.
        """
        learned = len(self._queries) - HELD_OUT
        for step in range(self.step, steps):
            if step == ranked:
                self._read_all()
            rng = random.Random(seeded(self._seed, "meaning", step))
            losses = self._losses(rng, learned, step >= ranked)
            torch.autograd.backward(torch.stack(list(losses.values())).sum())
            assert self._table.grad is not None
            self._table.grad[self._kept] = 0
            for group in self._optimiser.param_groups:
                group["lr"] = group["rate"] * min(1.0, (step + 1) / _WARMUP) * (1 - step / steps)
                nn.utils.clip_grad_norm_(group["params"], _LARGEST_GRADIENT)
            self._optimiser.step()
            self._optimiser.zero_grad()
            self.step = step + 1
            report(self.step, {name: float(loss.detach()) for name, loss in losses.items()})
            if self.step % _SAVE_EVERY == 0 or self.step == steps:
                self.save()

    def _losses(self, rng: random.Random, learned: int, rank: bool) -> dict[str, Tensor]:
        batch = self._queries.batch(rng, range(learned), _NEIGHBOURS, _RIVALS if rank else _PAGES)
        said, still = self._page_rows(rng, batch.pages[:_PAGES])
        meant = self._read.meanings[batch.pages[:_PAGES]]
        start = rng.randrange(max(1, len(self._by_length) - _ASKED))
        some = self._by_length[start : start + _ASKED]
        ids, mask = self._queries.tokens([self._texts.texts[one] for one in some])
        asked = forward.ask(self._model, ids, mask)
        words, saying = mask.clone(), _saying_places(mask)
        words.scatter_(1, saying, value=False)
        before = forward.ask(self._base, ids, mask)[words]
        losses = {
            "page": _apart(said, meant),
            "query": _apart(_rows_at(asked, saying), self._texts.meanings[some, None]),
            "words": _WORDS * _apart(asked[words], before),
            "still": still,
        }
        if rank:
            rows = self._rows[batch.pages]
            rows[:_PAGES] = said
            self._rows[batch.pages[:_PAGES]] = said.detach()
            losses["rank"] = self._ranking(batch, rows)[0]
        return losses

    def _page_rows(self, rng: random.Random, pages: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What the prompts of pages say, and how far some of their patches were moved."""
        before = self._read.states[list(pages)].float()
        patches = torch.tensor(rng.sample(range(self._places.shape[1]), _STILL_PATCHES))
        prompt = torch.arange(before.shape[1] - ROWS, before.shape[1])
        wanted = torch.cat([patches, prompt])
        places = self._places.expand(len(pages), -1)
        after = forward.last_layer(self._model, before, places, len(self._prompt), wanted)
        stood = before[:, patches]
        moved = (after[:, :_STILL_PATCHES] - stood).square().sum(2) / stood.square().sum(2)
        return forward.vectors(self._model, after[:, _STILL_PATCHES:]), 10 * moved.mean()

    def _ranking(self, batch: Batch, rows: Tensor) -> tuple[Tensor, float]:
        """MaxSim ranks the page of a query first; of a question, others by their meaning, too."""
        tokens = batch.tokens_of(forward.ask(self._model, batch.ids, batch.mask))
        patches = (self._read.patches[number] for number in batch.pages)
        best = best_on(tokens, patches, torch.float32)
        best = torch.maximum(best, torch.einsum("td,prd->tpr", tokens, rows).amax(2))
        logits = (batch.scores(best) * self._scale.exp()).masked_fill(batch.also, _NEVER)
        wanted = F.one_hot(batch.answer, len(batch.pages)).float()
        free = [number for number, text in enumerate(batch.questions) if text]
        if free:
            meant = self._understand([batch.questions[number] for number in free])
            pages = self._read.meanings[batch.pages]
            close = torch.einsum("qd,prd->qpr", meant, pages).amax(2)
            taught = torch.softmax(close * _SHARPNESS, 1)
            wanted[free] = (1 - _TEACHER) * wanted[free] + _TEACHER * taught
        right = (logits.argmax(1) == batch.answer).float().mean()
        return F.cross_entropy(logits, wanted), float(right)

    @torch.no_grad()
    def _read_all(self) -> None:
        self._rows.copy_(self._said(random.Random(0), range(len(self._rows))))

    def _said(self, rng: random.Random, pages: range) -> Tensor:
        """What the prompts of many pages say, some at a time."""
        starts = range(0, len(pages), _PAGES)
        return torch.cat([self._page_rows(rng, pages[at : at + _PAGES])[0] for at in starts])

    @torch.no_grad()
    def found(self) -> float:
        """The share of queries about pages held out that find their page first among those."""
        rng, pages = random.Random(self._seed), len(self._queries)
        held = range(pages - HELD_OUT, pages)
        rows = self._said(rng, held)
        shares = []
        for _ in range(4):
            batch = self._queries.batch(rng, held, HELD_OUT, HELD_OUT)
            shares.append(self._ranking(batch, rows[torch.tensor(batch.pages) - held.start])[1])
        return sum(shares) / len(shares)

    def save(self) -> None:
        """Write the checkpoint, and all that is needed to go on from it."""
        architecture.save(self._model, self._processor, self._folder)
        state = {
            "step": self.step,
            "rows": self._rows,
            "scale": self._scale.detach(),
            "weights": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        with whole(self._folder / STATE) as unfinished:
            torch.save(state, unfinished)

    def _resume(self) -> None:
        path = self._folder / STATE
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.step = int(state["step"])
        self._rows.copy_(state["rows"])
        self._model.load_state_dict(state["weights"])
        with torch.no_grad():
            self._scale.copy_(state["scale"])
        self._optimiser.load_state_dict(state["optimiser"])


def _apart(said: Tensor, meant: Tensor) -> Tensor:
    """How far unit vectors are from those they should be, 0 to 2, on average."""
    return (1 - (said * meant).sum(-1)).mean()


def _saying_places(mask: Tensor) -> Tensor:
    """Which rows of queries say what they mean: int64 (queries, _SAYING_PADS)."""
    return (mask.sum(1) - QUERY_PADS)[:, None] + torch.arange(_SAYING_PADS)


def _rows_at(asked: Tensor, places: Tensor) -> Tensor:
    return asked.gather(1, places[..., None].expand(-1, -1, asked.shape[2]))
