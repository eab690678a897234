"""The training loop: batches made ahead, losses, steps, progress, files to go on from."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from colpali_engine.models import ColPali, ColPaliProcessor
from torch import Tensor

from colpali_serve.training.learning import losses
from colpali_serve.training.learning.crops import Batch, CropMaker, Crops
from colpali_serve.training.learning.losses import Heads
from colpali_serve.training.learning.memory import PageMemory
from colpali_serve.training.learning.optimiser import Optimiser
from colpali_serve.training.learning.questions import Examples, PatchBank, Questions, asking
from colpali_serve.training.learning.stages import Stage
from colpali_serve.training.model import architecture, forward
from colpali_serve.training.seeds import seeded
from colpali_serve.training.whole_files import whole

_AHEAD = 3
_SAVE_EVERY = 250
# Steps in which readers learn alone, what they read, and the rate that falls to nothing meanwhile.
SETTLING = 200
_SETTLING_CROPS, _SETTLING_RATE = Crops(16, 8, 32, 1), 3e-3
STATE = "state.pt"


@dataclass(frozen=True)
class Reached:
    """How far a stage has come.

    Attributes:
        stage: its name.
        step: steps done.
        steps: steps in all.
        seconds_left: at the pace so far.
        waited: seconds that the model waited for batches since the last report.
        figures: means since the last report.
    """

    stage: str
    step: int
    steps: int
    seconds_left: float
    waited: float
    figures: dict[str, float]

    def record(self) -> str:
        """One line of JSON for the log."""
        rounded = {name: round(value, 4) for name, value in self.figures.items()}
        return json.dumps({"stage": self.stage, "step": self.step, **rounded})


class Trainer:
    """Trains one model through stages.

    Args:
        model: on the device where it is to be trained, float32.
        processor: saved with the model; its tokenizer names the pieces.
        crops: where batches come from.
        questions: text for the stages that ask questions; None where no stage does.
        seed: of everything by chance.
        folder: where states and checkpoints are written.
        dtype: what to compute in; the optimiser keeps float32 masters.
    """

    def __init__(
        self,
        model: ColPali,
        processor: ColPaliProcessor,
        crops: CropMaker,
        questions: Examples | None,
        seed: int,
        folder: Path,
        dtype: torch.dtype,
    ) -> None:
        self._device = next(model.parameters()).device
        self._processor, self._crops, self._questions = processor, crops, questions
        self._seed, self._folder = seed, folder
        self.model = architecture.computing(model, dtype)
        tokenizer = processor.tokenizer
        # Without the 1152 places and segments that PaliGemma's processor adds: no page shows them.
        self._vocabulary = tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False)
        hidden = model.config.vision_config.hidden_size
        torch.manual_seed(seed)
        self.heads = Heads(hidden, self._vocabulary).to(self._device, dtype)
        self.optimiser = Optimiser(self.model, self.heads)
        self.bank = PatchBank(self._vocabulary, self._device, dtype)
        self.memory = PageMemory(self._vocabulary, self._device, dtype)
        self._prompt = architecture.prompt(processor).to(self._device)
        self._done: set[str] = set()
        self._at = ("", 0)
        self._resume()

    def settle(self, done: Callable[[], None]) -> None:
        """Let the readers learn alone, before towers go on that have learned without them.

        Readers that know nothing would pull such towers out of shape, and a stage would be spent on
        bringing them back.

        Args:
            done: called after each of `SETTLING` steps.
        """
        for step in range(SETTLING):
            seed = seeded(self._seed, "settling", step)
            batch = self._crops.batch(_SETTLING_CROPS, seed).to(self._device)
            with torch.no_grad():
                seen = forward.see(self.model, batch.pixels.to(self.heads.dtype), batch.places)
                output, _ = forward.read(self.model, seen, batch.places, self._prompt)
            torch.manual_seed(seed)
            loss, _ = losses.reading(self.heads, seen, output[:, : batch.places.shape[1]], batch)
            torch.autograd.backward(loss)
            self.optimiser.step(0.0, _SETTLING_RATE * (1 - step / SETTLING))
            done()

    def run(self, stage: Stage, report: Callable[[Reached], None], every: int = 50) -> None:
        """Train one stage, from where its folder's state left off.

        Args:
            stage: what to do.
            report: called every `every` steps.
            every: steps between reports.
        """
        first = self._at[1] if self._at[0] == stage.name else 0
        started, waited, sums = time.monotonic(), 0.0, dict[str, list[float]]()
        for step, batch in self._batches(stage, first):
            before = time.monotonic()
            crops, asked = batch.result()
            ready = crops.to(self._device)
            questions = asked and asked.to(self._device)
            waited += time.monotonic() - before
            torch.manual_seed(seeded(self._seed, stage.name, step))
            loss, figures = self._losses(stage, ready, questions)
            torch.autograd.backward(loss)
            rate = stage.rate(step)
            norm = self.optimiser.step(stage.matrix_rate * rate, stage.other_rate * rate)
            for name, value in {"loss": loss.detach(), **figures}.items():
                sums.setdefault(name, []).append(float(value))
            sums.setdefault("gradient", []).append(norm)
            done = step + 1
            if done % every == 0 or done == stage.steps:
                left = (time.monotonic() - started) / (done - first) * (stage.steps - done)
                means = {name: sum(values) / len(values) for name, values in sums.items()}
                report(Reached(stage.name, done, stage.steps, left, waited, means))
                waited, sums = 0.0, {}
            if done == stage.steps:
                self._done.add(stage.name)
            if done % _SAVE_EVERY == 0 or done == stage.steps:
                self.save(stage.name, done)

    def _batches(
        self, stage: Stage, first: int
    ) -> Iterator[tuple[int, Future[tuple[Batch, Questions | None]]]]:
        """Batches in order, made by a thread while the model works on the ones before."""

        def make(step: int) -> tuple[Batch, Questions | None]:
            rng = random.Random(f"{self._seed} {stage.name} {step}")
            crops = stage.crops(step, rng)
            batch = self._crops.batch(crops, rng.randrange(2**32), stage.large(step))
            if not (stage.questions and self._questions):
                return batch, None
            return batch, self._questions.batch(seeded(self._seed, stage.name, step))

        with ThreadPoolExecutor(1) as pool:
            queue = [
                pool.submit(make, step) for step in range(first, min(first + _AHEAD, stage.steps))
            ]
            try:
                for step in range(first, stage.steps):
                    yield step, queue.pop(0)
                    if step + _AHEAD < stage.steps:
                        queue.append(pool.submit(make, step + _AHEAD))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _losses(
        self, stage: Stage, batch: Batch, questions: Questions | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        pixels = batch.pixels.to(self.heads.dtype)
        patches = batch.places.shape[1]
        seen = forward.see(self.model, pixels, batch.places)
        output, vectors = forward.read(self.model, seen, batch.places, self._prompt)
        loss, figures = losses.reading(self.heads, seen, output[:, :patches], batch)
        loss = stage.weights.reading * loss
        if stage.weights.matching or stage.weights.ranking:
            queries = forward.ask(self.model, batch.query_ids, batch.query_mask)
            matched = losses.match(batch, queries, vectors, self._vocabulary)
            part, found = losses.matching(self.heads, batch, matched, vectors)
            loss, figures = loss + stage.weights.matching * part, figures | found
            whole = patches == architecture.GRID**2
            rivals = self.memory.rivals() if whole else None
            part, found = losses.ranking(self.heads, batch, matched, vectors, rivals)
            loss = loss + stage.weights.ranking * part
            # Told apart in the log: a page among dozens is another matter than one of two crops.
            figures |= {f"page {name}": value for name, value in found.items()} if whole else found
            if whole:
                self.memory.remember(vectors, matched.shown)
        if questions is not None:
            self.bank.remember(vectors[:, :patches].detach(), batch)
            part, found = asking(self.model, self.heads, self.bank, questions)
            loss = loss + stage.questions * part
            figures |= found
        return loss, figures

    def save(self, stage: str, step: int) -> None:
        """Write the checkpoint, and all that is needed to go on from it."""
        architecture.save(self.model, self._processor, self._folder)
        state: dict[str, Any] = {
            "stage": stage,
            "step": step,
            "done": sorted(self._done),
            "heads": self.heads.state_dict(),
            "optimiser": self.optimiser.state(),
            "bank": self.bank.state(),
            "memory": self.memory.state(),
        }
        with whole(self._folder / STATE) as unfinished:
            torch.save(state, unfinished)

    def _resume(self) -> None:
        """Take up the state that the folder holds, if it holds one."""
        path = self._folder / STATE
        if not path.exists():
            return
        state = torch.load(path, map_location=self._device, weights_only=True)
        self.heads.load_state_dict(state["heads"])
        self.optimiser.resume(state["optimiser"])
        self.bank.resume(state["bank"])
        self.memory.resume(state["memory"])
        self._done = set(state["done"])
        self._at = (state["stage"], int(state["step"]))

    def is_done(self, stage: Stage) -> bool:
        """Whether a stage was finished, in this run or in the one that it goes on from."""
        return stage.name in self._done
