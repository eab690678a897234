"""Stand-ins for what a pipeline drives, which tests hold and let go: never by the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from colpali_serve.engine.backlog import Backlog, Job
from colpali_serve.engine.finishing import Result
from colpali_serve.engine.items import Encoded, ImageInput, Input, TextInput
from colpali_serve.engine.pipeline import Pipeline
from colpali_serve.engine.preparing import Prepared
from colpali_serve.schemas import InvalidPageError
from tests.engine.noting import Noted

TIMEOUT_S = 60.0
"""After which a test fails that waits for what does not come."""
LENGTH = 4
"""Patches of an item that says nothing else."""
MODES = pytest.mark.parametrize("mode", ["one by one", "takes ahead", "query lane"])
"""A device that works or waits, as a CPU for families whose forward keeps state; one that takes
the next batch while it works, as a card; one that runs queries beside pages, as other CPUs."""


def pages(*names: object) -> list[ImageInput]:
    return [ImageInput(str(name), b"1234567890") for name in names]


def texts(*names: object) -> list[TextInput]:
    return [TextInput(str(name), "text") for name in names]


def image_queries(*names: object) -> list[ImageInput]:
    return [ImageInput(str(name), b"1234567890", kind="query") for name in names]


def embedding(name: str, length: int = LENGTH) -> NDArray[np.float32]:
    """What the device makes of an item: unit rows that no other item has."""
    rng = np.random.default_rng(list(name.encode()))
    rows = rng.standard_normal((length, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def answer(future: Future[Result]) -> Result:
    return future.result(TIMEOUT_S)


def is_of(future: Future[Result], name: str) -> bool:
    """Whether an item got the embedding that is its own."""
    found = answer(future)
    assert isinstance(found, Encoded), found
    return np.array_equal(found.embedding, embedding(name))


class _Held:
    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()

    def hold(self) -> None:
        """From now on who comes stays."""
        self._free.clear()

    def let_go(self) -> None:
        """Let who stays go, and who comes pass."""
        self._free.set()

    def _stay(self) -> None:
        assert self._free.wait(TIMEOUT_S), "nobody let go"


class Host(_Held):
    """Prepares items: `bad` ones are refused, `lengths` says how many patches one has."""

    def __init__(self, bad: Sequence[str] = (), lengths: dict[str, int] | None = None) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.came = threading.Semaphore(0)
        self._bad, self._lengths = bad, lengths or {}

    def __call__(self, entry: Input) -> Prepared:
        self.seen.append(entry.id)
        self.came.release()
        self._stay()
        if entry.id in self._bad:
            raise InvalidPageError(f"{entry.owner}: is bad", entry.id)
        tensors: dict[str, Any] = {"name": entry.id}
        if isinstance(entry, ImageInput):
            tensors["pixel_values"] = None
        return Prepared(tensors, self._lengths.get(entry.id, LENGTH), (2, 2))


class Device(_Held):
    """Notes the batches that it gets; `fails` says with what a batch of these names fails."""

    def __init__(
        self,
        budget: int = 10 * LENGTH,
        workers: int = 1,
        fails: Callable[[list[str]], Exception | None] = lambda names: None,
    ) -> None:
        super().__init__()
        self.budget, self.workers, self._fails = budget, workers, fails
        self.stages = self.query_lane = False
        self.query_lane = False
        self.batches: list[list[str]] = []
        self.came = threading.Semaphore(0)
        self.sent = threading.Semaphore(0)

    def enter_thread(self) -> None:
        """Nothing to prepare."""

    def stage(self, items: Sequence[Prepared]) -> list[str]:
        """What a card can do: take a batch while it works on another."""
        assert self.stages
        self.sent.release()
        return [item.tensors["name"] for item in items]

    def run(
        self, items: Sequence[Prepared], dtypes: Sequence[str], staged: list[str] | None = None
    ) -> list[NDArray[Any]]:
        names = [item.tensors["name"] for item in items]
        assert staged in (None, names)
        self.batches.append(names)
        self.came.release()
        if items[0].has_image or not self.query_lane:
            self._stay()
        if (error := self._fails(names)) is not None:
            raise error
        return [
            embedding(name, item.length).astype(dtype)
            for name, item, dtype in zip(names, items, dtypes, strict=True)
        ]

    def ran_out_of_memory(self, patches: int) -> None:
        self.budget = max(1, min(self.budget, patches // 2))


class Watched(Backlog):
    """A backlog that tells when items are ready, and when the host stops for want of room."""

    def __init__(self, max_items: int, max_bytes: int) -> None:
        super().__init__(max_items, max_bytes)
        self.readied = threading.Semaphore(0)
        self.paused = threading.Event()
        self.cleared = threading.Event()

    def clear(self) -> list[Job]:
        self.cleared.set()
        return super().clear()

    def prepared(self, job: Job) -> None:
        super().prepared(job)
        self.readied.release()

    def next_raw(self, *arguments: Any, **named: Any) -> Job | None:
        job = super().next_raw(*arguments, **named)
        if job is None and self._ready:
            self.paused.set()
        return job


class Line(Pipeline):
    """A pipeline over stand-ins, all within reach of the test."""

    def __init__(self, host: Host, device: Device, max_items: int, host_threads: int) -> None:
        self.host, self.device, self.noted = host, device, Noted()
        self.backlog = Watched(max_items, 1_000_000)
        super().__init__(host, device, self.backlog, self.noted, host_threads, None)  # type: ignore[arg-type]

    def occupy(self) -> None:
        """Give the device an item that it keeps until it is let go."""
        self.device.hold()
        self.submit(pages("first"), 1, "float32")
        assert self.device.came.acquire(timeout=TIMEOUT_S)
        assert self.backlog.readied.acquire(timeout=TIMEOUT_S)

    def wait_until_ready(self, items: int) -> None:
        """Return when so many more items are ready for the device."""
        for _ in range(items):
            assert self.backlog.readied.acquire(timeout=TIMEOUT_S)


@contextmanager
def line(
    host: Host | None = None,
    device: Device | None = None,
    *,
    mode: str = "one by one",
    max_items: int = 1000,
    host_threads: int = 2,
) -> Iterator[Line]:
    """A running pipeline; at the end everything is let go and its threads have ended."""
    device = device or Device()
    device.stages, device.query_lane = mode == "takes ahead", mode == "query lane"
    pipeline = Line(host or Host(), device, max_items, host_threads)
    with ExitStack() as stack:
        pipeline.start()
        stack.callback(pipeline.close)
        stack.callback(pipeline.device.let_go)
        stack.callback(pipeline.host.let_go)
        yield pipeline
