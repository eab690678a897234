"""Fixtures of every room: offline surroundings, tiny checkpoints built once, images."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Before anything imports jina or the hub library; subprocesses inherit them.
os.environ.update(
    JINA_OPTOUT_TELEMETRY="1",
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
)
if "PYTEST_XDIST_WORKER" in os.environ:
    # Threads of several processes that wait for each other take many times as long as one.
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
from PIL import Image

from tests.checkpoints import build_adapter, build_checkpoint

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny random checkpoint of a family, built on first use."""
    built: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in built:
            built[family] = build_checkpoint(family, tmp_path_factory.mktemp(family))
        return built[family]

    return get


@pytest.fixture(scope="session")
def adapter(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Folder of a LoRA adapter over a family's tiny checkpoint, built on first use."""
    built: dict[tuple[object, ...], Path] = {}

    def get(family: str, key_style: str = "new", zero: bool = False) -> Path:
        key = (family, key_style, zero)
        if key not in built:
            folder = tmp_path_factory.mktemp(f"{family}-adapter")
            built[key] = build_adapter(
                checkpoint(family), family, folder, key_style=key_style, zero=zero
            )
        return built[key]

    return get


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    """Three pages of different sizes and ratios, no two patches alike."""
    rng = np.random.default_rng(7)
    sizes = [(300, 400), (420, 180), (64, 64)]
    return [
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in sizes
    ]
