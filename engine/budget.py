"""How many patches are worth one forward on this machine, measured before the first request."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from PIL import Image

from colpali_serve.engine.forward import page_batch
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.preparing import Prepared

# A4 at 150 dots an inch: what pages usually are.
_PAGE = (1240, 1754)
_WORTH_IT = 0.97
"""A larger batch is taken if it needs at most this share of the time a page."""
_LONGEST_S = 0.5
"""Queries wait for the batch that runs: it shall not take longer, unless it is one page."""
_MEMORY_SHARE = 0.8
_MOST_PAGES = 64


def measured_budget(
    run: Callable[[Sequence[Prepared], Sequence[str]], object], loaded: LoadedModel
) -> int:
    """Double a batch of pages as long as that pays; this warms the model up, too.

    It ends where the device has no memory for more, or where queries that come meanwhile would
    wait for long.

    Args:
        run: Embeds a batch.
        loaded: The model.

    Returns:
        Patches of the last batch that was worth it, at least one page's.
    """
    tensors = page_batch(loaded, [Image.new("RGB", _PAGE, "white")])
    page = Prepared(tensors, tensors["input_ids"].shape[1])
    count, best = 1, _seconds_a_page(run, page, 1)
    while count < _MOST_PAGES and 2 * count * best <= _LONGEST_S and _has_memory(loaded, 2):
        try:
            seconds = _seconds_a_page(run, page, 2 * count)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        if seconds > _WORTH_IT * best:
            break
        count, best = 2 * count, seconds
    return count * page.length


def _seconds_a_page(
    run: Callable[[Sequence[Prepared], Sequence[str]], object], page: Prepared, count: int
) -> float:
    """The better of two: the first one also finds kernels and memory."""
    times = []
    for _ in range(2):
        began = time.perf_counter()
        run([page] * count, ["float16"] * count)
        times.append(time.perf_counter() - began)
    return min(times) / count


def _has_memory(loaded: LoadedModel, factor: int) -> bool:
    """Whether a batch `factor` times as large as the largest so far would fit, by its peak."""
    if loaded.device.type != "cuda":
        return True
    used = torch.cuda.max_memory_allocated(loaded.device)
    weights = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
    total = int(torch.cuda.get_device_properties(loaded.device).total_memory)
    return bool(weights + factor * (used - weights) <= _MEMORY_SHARE * total)
