"""Tiny random checkpoints of every family, built where a test needs them."""

from pathlib import Path

from tests.checkpoints.adapters import build_adapter
from tests.checkpoints.gemma import blank_colgemma3
from tests.checkpoints.paligemma import blank_colpali
from tests.checkpoints.qwen import (
    blank_colqwen2,
    blank_colqwen2_5,
    blank_colqwen3,
    blank_colqwen3_5,
)
from tests.checkpoints.tiles import blank_colidefics3, blank_colmodernvbert
from tests.checkpoints.weights import draw_model

__all__ = ["FAMILIES", "build_adapter", "build_checkpoint"]

_BLANKS = {
    "colpali": blank_colpali,
    "colqwen2": blank_colqwen2,
    "colqwen2_5": blank_colqwen2_5,
    "colqwen3": blank_colqwen3,
    "colqwen3_5": blank_colqwen3_5,
    "colidefics3": blank_colidefics3,
    "colmodernvbert": blank_colmodernvbert,
    "colgemma3": blank_colgemma3,
}

FAMILIES: tuple[str, ...] = tuple(_BLANKS)


def build_checkpoint(family: str, folder: Path, *, seed: int = 0) -> Path:
    """Save a tiny random model of one family, with its processor, and return its folder.

    The same family and seed give the same files.

    Args:
        family: One of `FAMILIES`.
        folder: Where to save; created if it is not there.
        seed: What the weights are drawn from.

    Returns:
        `folder`, as `Family.from_pretrained` takes it.

    Raises:
        KeyError: If the family is not known.
    """
    blank = _BLANKS[family]()
    draw_model(blank, seed=seed).save_pretrained(folder)
    blank.processor.save_pretrained(folder)
    return folder
