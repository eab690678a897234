"""An observer that keeps what it is told."""

from __future__ import annotations

import threading

from colpali_serve.engine.observing import Observer


class Noted(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts = dict.fromkeys(("admitted", "refused", "cancelled", "failed", "halved"), 0)
        self.queue: tuple[int, int, float] = (0, 0, 0.0)
        self.batches: list[tuple[str, int, int, int]] = []
        self.budgets: list[int] = []
        self.stages: dict[str, int] = {}

    def _count(self, what: str, items: int = 1) -> None:
        with self._lock:
            self.counts[what] += items

    def admitted(self, items: int) -> None:
        self._count("admitted", items)

    def refused(self, items: int) -> None:
        self._count("refused", items)

    def cancelled(self, items: int) -> None:
        self._count("cancelled", items)

    def failed(self) -> None:
        self._count("failed")

    def halved(self) -> None:
        self._count("halved")

    def queued(self, items: int, size_bytes: int, oldest_s: float) -> None:
        self.queue = (items, size_bytes, oldest_s)

    def batch(self, kind: str, items: int, patches: int, padded: int, seconds: float) -> None:
        self.batches.append((kind, items, patches, padded))

    def out_of_memory(self, budget: int) -> None:
        self.budgets.append(budget)

    def took(self, stage: str, seconds: float) -> None:
        assert seconds >= 0
        with self._lock:
            self.stages[stage] = self.stages.get(stage, 0) + 1


class AllPrepared(Noted):
    """Lets the model begin when all pages but the last are certain to wait for it."""

    def __init__(self, pages: int) -> None:
        super().__init__()
        self.event, self._pages = threading.Event(), pages

    def took(self, stage: str, seconds: float) -> None:
        super().took(stage, seconds)
        if self.stages.get("preprocess") == self._pages:
            self.event.set()
