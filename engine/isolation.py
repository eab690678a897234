"""Run a batch so that an item that breaks it breaks nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

from colpali_serve.schemas import EncodingError

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_isolated(
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Iterable[Result]],
    name: Callable[[Item], tuple[str, str]],
    failed: Callable[[Sequence[Item], bool], None] = lambda items, out_of_memory: None,
) -> list[Result | EncodingError]:
    """Run `run` over a batch; where it fails, halve the batch until the guilty item is alone.

    Args:
        items: The batch.
        run: Gives one result an item, in order, or raises for the whole batch.
        name: How errors call an item, and its id.
        failed: Told of each batch of several items that failed, and whether for want of memory.

    Returns:
        One result an item, in order; an `EncodingError` in place of an item that fails alone,
        with the failure as its cause.
    """
    if not items:
        return []
    try:
        return list(run(items))
    except Exception as error:  # noqa: BLE001  (models raise anything; it stays as the cause)
        out_of_memory = isinstance(error, torch.OutOfMemoryError)
        if len(items) == 1:
            owner, item = name(items[0])
            what = (
                "the device has too little memory for it" if out_of_memory else "the model failed"
            )
            failure = EncodingError(f"{owner}: {what}, expected an embedding", item)
            failure.__cause__ = error
            return [failure]
        error.__traceback__ = None  # frames would keep the failed batch's tensors alive
    if out_of_memory:
        torch.cuda.empty_cache()
    failed(items, out_of_memory)
    middle = len(items) // 2
    halves = (items[:middle], items[middle:])
    return [result for half in halves for result in run_isolated(half, run, name, failed)]
