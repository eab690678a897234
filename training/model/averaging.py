"""One checkpoint out of several along the same way of training."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.whole_files import whole

_WEIGHTS = "model.safetensors"


def average(checkpoints: Sequence[Path], out: Path) -> None:
    """Write the mean of the weights of checkpoints, of which one went on from another.

    Each has drifted its own way from what they learned in common; the mean keeps that and loses
    half of the drift. Checkpoints of different first weights have nothing in common.

    Args:
        checkpoints: Their folders, two or more; everything but the weights comes from the last.
        out: Folder of the mean; made if it is not there.

    Raises:
        ConfigError: A checkpoint cannot be read, or has other weights than the first.

    Source:
        Izmailov et al., Averaging Weights Leads to Wider Optima (2018).
    """
    try:
        weights = [load_file(folder / _WEIGHTS) for folder in checkpoints]
    except OSError as error:
        raise ConfigError(f"a checkpoint cannot be read ({error.strerror or error})") from error
    shapes = [{name: rows.shape for name, rows in one.items()} for one in weights]
    for folder, found in zip(checkpoints, shapes, strict=True):
        if found != shapes[0]:
            raise ConfigError(f"{folder.name} has other weights than {checkpoints[0].name}")
    mean = {
        name: torch.stack([one[name].float() for one in weights]).mean(0).to(rows.dtype)
        for name, rows in weights[-1].items()
    }
    out.mkdir(parents=True, exist_ok=True)
    for file in checkpoints[-1].glob("*.json"):
        shutil.copyfile(file, out / file.name)
    with safe_open(checkpoints[-1] / _WEIGHTS, "pt") as last:
        metadata = last.metadata()
    with whole(out / _WEIGHTS) as unfinished:
        save_file(mean, unfinished, metadata=metadata)
