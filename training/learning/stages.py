"""Stages of training, read from stages.toml."""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.learning.crops import Crops
from colpali_serve.training.learning.losses import Weights
from colpali_serve.training.model.architecture import GRID


@dataclass(frozen=True)
class Share:
    """A kind of crops and how often it comes, at the stage's first step and at its last."""

    crops: Crops
    first: float
    last: float


@dataclass(frozen=True)
class Stage:
    """One stretch of training.

    Attributes:
        name: what logs and files call it.
        goal: what it is for, in one sentence.
        steps: optimiser steps.
        matrix_rate: learning rate of the layers' matrices (Muon).
        other_rate: learning rate of everything else (AdamW).
        warmup: steps until the rates are reached.
        final: share of the rates that is left at the last step; they fall in a straight line.
        weights: of the losses.
        questions: weight of the text-only loss, 0 for none.
        large_print: share of crops with large letters only, at the first and at the last step.
        shares: kinds of crops.
    """

    name: str
    goal: str
    steps: int
    matrix_rate: float
    other_rate: float
    warmup: int
    final: float
    weights: Weights
    questions: float
    large_print: tuple[float, float]
    shares: tuple[Share, ...]

    def rate(self, step: int) -> float:
        """The share of the learning rates that a step uses, 0 to 1.

        >>> stage = read(Path("training/stages.toml"))[0]
        >>> stage.rate(0) < stage.rate(stage.warmup) >= stage.rate(stage.steps)
        True
        """
        falling = 1 - (1 - self.final) * step / self.steps
        return min(1.0, (step + 1) / max(1, self.warmup)) * falling

    def crops(self, step: int, rng: random.Random) -> Crops:
        """The kind of crops of a step."""
        done = step / self.steps
        weights = [share.first + (share.last - share.first) * done for share in self.shares]
        return rng.choices([share.crops for share in self.shares], weights)[0]

    def large(self, step: int) -> float:
        """The share of crops with large print at a step."""
        first, last = self.large_print
        return first + (last - first) * step / self.steps


def read(path: Path) -> tuple[Stage, ...]:
    """The stages of a file, in order.

    Raises:
        ConfigError: the file cannot be read, a key is missing or not known, or a value is out of
            its range.
    """
    try:
        tables = tomllib.loads(path.read_text()).get("stage")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name}: cannot be read: {error}", item=path.name) from error
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path.name}: no [[stage]], expected at least one", item=path.name)
    return tuple(_stage(table, path.name) for table in tables)


def _stage(table: dict[str, Any], file: str) -> Stage:
    try:
        losses = {**table.pop("losses")}
        questions = losses.pop("questions", 0.0)
        shares = tuple(_share(dict(cut)) for cut in table.pop("crops"))
        first, last = table.pop("large_print", [0.0, 0.0])
        stage = Stage(
            **table,
            weights=Weights(**losses),
            questions=questions,
            large_print=(first, last),
            shares=shares,
        )
        if stage.steps < 1 or not shares:
            raise ValueError(f"{stage.steps} steps of {len(shares)} crops, expected some")
    except (KeyError, TypeError, ValueError) as error:
        name = table.get("name", "without a name")
        raise ConfigError(f"{file}: stage {name!r}: {error}", item=file) from error
    return stage


def _share(cut: dict[str, Any]) -> Share:
    share = cut.pop("share")
    first, last = share if isinstance(share, list) else (share, share)
    crops = Crops(**cut)
    if not (1 <= crops.columns <= GRID and 1 <= crops.rows <= GRID and crops.batch >= 1):
        raise ValueError(f"{crops}, expected 1 to {GRID} columns and rows and a batch of some")
    return Share(crops, first, last)
