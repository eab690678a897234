"""Vectors of whole pages, made once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from colpali_engine.models import ColPali
from torch import Tensor

from colpali_serve.training.model import forward
from colpali_serve.training.model.architecture import GRID
from colpali_serve.training.whole_files import whole

_IN_A_FILE = 50


@torch.no_grad()
def page_vectors(
    model: ColPali,
    prompt: Tensor,
    pages: Sequence[np.ndarray],
    checkpoint: Path,
    kept: Path,
    done: Callable[[int], None],
) -> Tensor:
    """Embed whole pages, or read what an earlier run left of them.

    Args:
        model: of the weights that `checkpoint` has.
        prompt: int64 (prompt tokens,): what the processor writes behind the patches.
        pages: uint8 (768, 768) each, grey.
        checkpoint: folder; vectors are kept by the hash of its weights.
        kept: folder of vectors.
        done: called with a number of pages whenever they are there.

    Returns:
        bfloat16 (pages, vectors, dim).
    """
    kept.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()[:16]
    parts = []
    for start in range(0, len(pages), _IN_A_FILE):
        some = pages[start : start + _IN_A_FILE]
        path = kept / f"{name}-{_named(some)}.pt"
        if not path.exists():
            with whole(path) as unfinished:
                torch.save(torch.cat([*embedded(model, prompt, some)]), unfinished)
        parts.append(torch.load(path, weights_only=True))
        done(len(some))
    return torch.cat(parts)


def _named(pages: Sequence[np.ndarray]) -> str:
    """A name that is another one for other pages."""
    return hashlib.sha256(b"".join(page.tobytes() for page in pages)).hexdigest()[:16]


def embedded(model: ColPali, prompt: Tensor, pages: Sequence[np.ndarray]) -> Iterator[Tensor]:
    """Vectors of whole pages, bfloat16 (1, vectors, dim), one by one.

    Args:
        model: embeds them.
        prompt: int64 (prompt tokens,): what the processor writes behind the patches.
        pages: uint8 (768, 768) each, grey.
    """
    weight = next(model.parameters())
    places = torch.arange(GRID * GRID, device=weight.device)[None]
    for page in pages:
        grey = torch.from_numpy(page.astype(np.float32) / 127.5 - 1)[None, None].to(weight.device)
        pixels = grey.expand(1, 3, -1, -1).to(weight.dtype)
        seen = forward.see(model, pixels, places)
        yield forward.read(model, seen, places, prompt)[1].to(torch.bfloat16).cpu()
