"""What the engine tells whoever watches it: counts, sizes, times. By default nobody does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Observer:
    """Takes note of nothing; a subclass keeps what it wants.

    Every method may be called from several threads at once, and must not raise.
    """

    def admitted(self, items: int) -> None:
        """Items were taken into the queue."""

    def refused(self, items: int) -> None:
        """Items were turned away because the queue was full."""

    def cancelled(self, items: int) -> None:
        """Items were dropped because their caller has gone."""

    def failed(self) -> None:
        """An item ended in an error."""

    def queued(self, items: int, size_bytes: int, oldest_s: float) -> None:
        """The queue as it is now: items, their bytes, and the age of the oldest in seconds."""

    def batch(self, kind: str, items: int, patches: int, padded: int, seconds: float) -> None:
        """A forward is done.

        Args:
            kind: "page" or "query".
            items: In the batch.
            patches: Rows that were real.
            padded: Rows that were computed, padding included.
            seconds: From the tensors' way to the device until the embeddings' way back.
        """

    def out_of_memory(self, budget: int) -> None:
        """The device had too little memory for a batch; the patch budget is `budget` now."""

    def halved(self) -> None:
        """A batch failed and was tried again in halves."""

    def took(self, stage: str, seconds: float) -> None:
        """A stage of one item or batch took some time: decode, preprocess, wait, forward, pool."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.took(name, time.perf_counter() - began)
