"""What the machine could do at best: arithmetic of a page against the fastest matrix product."""

from __future__ import annotations

import time

import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from colpali_serve.engine.forward import embed_batch, page_batch
from colpali_serve.engine.loading import LoadedModel


def forward_flops(loaded: LoadedModel, image: Image.Image) -> int:
    """Floating point operations of one page's forward."""
    with FlopCounterMode(display=False) as counter:
        embed_batch(loaded, page_batch(loaded, [image]))
    return int(counter.get_total_flops())


def matmul_flops_a_second(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large square product, the best of five."""
    side, repeats = (8192, 10) if device.type == "cuda" else (1536, 2)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(5):
        _finish(device)
        began = time.perf_counter()
        for _ in range(repeats):
            a @ b
        _finish(device)
        best = max(best, 2 * side**3 * repeats / (time.perf_counter() - began))
    return best


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
