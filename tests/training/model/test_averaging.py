"""The mean of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from colpali_serve.schemas import ConfigError
from colpali_serve.training.model.averaging import average


def saved(folder: Path, value: float, rows: int = 2) -> Path:
    folder.mkdir()
    save_file({"a": torch.full((rows, 3), value).bfloat16()}, folder / "model.safetensors")
    (folder / "config.json").write_text(f"{value}")
    return folder


def test_weights_are_the_mean_and_all_else_is_the_last_ones(tmp_path: Path) -> None:
    parts = [saved(tmp_path / "one", 1.0), saved(tmp_path / "two", 2.0)]
    average(parts, tmp_path / "new/mean")
    found = load_file(tmp_path / "new/mean/model.safetensors")["a"]
    assert found.dtype == torch.bfloat16
    assert (found == 1.5).all()
    assert (tmp_path / "new/mean/config.json").read_text() == "2.0"


def test_other_weights_are_refused(tmp_path: Path) -> None:
    parts = [saved(tmp_path / "one", 1.0), saved(tmp_path / "two", 2.0, rows=5)]
    with pytest.raises(ConfigError, match="two has other weights than one"):
        average(parts, tmp_path / "mean")
    with pytest.raises(ConfigError, match="cannot be read"):
        average([tmp_path / "one", tmp_path / "none"], tmp_path / "mean")
