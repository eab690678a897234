"""What goes wrong in the pipeline goes wrong for the item that it happened to, and for no other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from colpali_serve.schemas import (
    EncodingError,
    InvalidPageError,
    OverloadedError,
    ServiceUnavailableError,
)
from tests.engine.standins import (
    LENGTH,
    MODES,
    TIMEOUT_S,
    Device,
    Host,
    Line,
    answer,
    is_of,
    line,
    pages,
)


@MODES
def test_a_page_that_cannot_be_prepared_fails_alone(mode: str) -> None:
    with line(Host(bad=["bad"]), mode=mode) as running:
        good, bad, other = running.submit(pages("a", "bad", "b"), 1, "float32")
        found = answer(bad)
        assert isinstance(found, InvalidPageError)
        assert found.args == ("page 'bad': is bad", "bad")
        assert is_of(good, "a")
        assert is_of(other, "b")
        assert running.noted.counts["failed"] == 1


@MODES
def test_a_page_that_breaks_its_batch_fails_alone(mode: str) -> None:
    def poison(names: list[str]) -> Exception | None:
        return RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED") if "bad" in names else None

    with line(device=Device(fails=poison), mode=mode) as running:
        running.occupy()
        names = ["a", "b", "bad", "c", "d", "e"]
        futures = running.submit(pages(*names), 1, "float32")
        running.wait_until_ready(6)
        running.device.let_go()
        for name, future in zip(names, futures, strict=True):
            if name != "bad":
                assert is_of(future, name)
        found = answer(futures[2])
        assert isinstance(found, EncodingError)
        assert found.args == ("page 'bad': the model failed, expected an embedding", "bad")
        assert isinstance(found.__cause__, RuntimeError)
        assert sorted(running.device.batches[1]) == sorted(names)
        assert running.noted.counts["failed"] == 1
        assert running.noted.counts["halved"] in (2, 3)
        assert running.device.budget == 10 * LENGTH
        assert is_of(*running.submit(pages("after"), 1, "float32"), "after")


@MODES
def test_a_device_without_memory_gets_smaller_batches_from_then_on(mode: str) -> None:
    def small(names: list[str]) -> Exception | None:
        return torch.OutOfMemoryError() if len(names) > 2 else None

    with line(device=Device(fails=small), mode=mode) as running:
        for round_ in range(2):
            running.occupy()
            names = [f"{round_}-{number}" for number in range(8)]
            futures = running.submit(pages(*names), 1, "float32")
            running.wait_until_ready(8 if round_ == 0 else running.device.budget // LENGTH)
            running.device.let_go()
            assert all(map(is_of, futures, names))
            assert running.noted.budgets[-1] == running.device.budget < 3 * LENGTH
            # Halves of what had been eight; after that none is too large any more.
            assert (max(map(len, running.device.batches)) > 2) == (round_ == 0)
            running.device.batches.clear()


@MODES
def test_what_nobody_waits_for_does_not_reach_the_device(mode: str) -> None:
    with line(host_threads=1, mode=mode) as running:
        running.occupy()
        ready = running.submit(pages("a", "b"), 1, "float32")
        running.wait_until_ready(2)
        running.host.hold()
        running.submit(pages("c"), 1, "float32")
        assert [running.host.came.acquire(timeout=TIMEOUT_S) for _ in range(4)]
        raw = running.submit(pages("d", "e"), 1, "float32")
        for future in (ready[0], raw[1]):
            assert future.cancel()
        running.forget_cancelled()
        assert running.noted.counts["cancelled"] == 2
        assert len(running.backlog) == 3
        running.host.let_go()
        running.device.let_go()
        assert is_of(ready[1], "b")
        assert is_of(raw[0], "d")
        assert not {"a", "e"} & {name for batch in running.device.batches for name in batch}
        assert "e" not in running.host.seen


@MODES
def test_what_is_on_the_device_cannot_be_cancelled(mode: str) -> None:
    with line(mode=mode) as running:
        running.device.hold()
        (future,) = running.submit(pages("a"), 1, "float32")
        assert running.device.came.acquire(timeout=TIMEOUT_S)
        assert not future.cancel()
        running.device.let_go()
        assert is_of(future, "a")


@MODES
def test_closing_finishes_what_runs_fails_what_waits_and_ends_every_thread(mode: str) -> None:
    before = set(threading.enumerate())
    with line(host_threads=1, mode=mode) as running:
        running.device.hold()
        (first,) = running.submit(pages("first"), 1, "float32")
        running.wait_until_ready(1)
        assert running.device.came.acquire(timeout=TIMEOUT_S)
        (ready,) = running.submit(pages("ready"), 1, "float32")
        running.wait_until_ready(1)
        running.host.hold()
        waiting = [ready, *running.submit(pages("prepared", "raw"), 1, "float32")]
        assert [running.host.came.acquire(timeout=TIMEOUT_S) for _ in range(3)]
        with ThreadPoolExecutor(1) as other:
            closing = other.submit(running.close)
            assert isinstance(answer(ready), ServiceUnavailableError)
            running.host.let_go()
            for name, future in zip(("ready", "prepared", "raw"), waiting, strict=True):
                found = answer(future)
                assert isinstance(found, ServiceUnavailableError)
                assert found.args == (f"page '{name}': the encoder is shutting down", name)
            assert not closing.done()
            running.device.let_go()
            closing.result(TIMEOUT_S)
        assert is_of(first, "first")
        assert set(threading.enumerate()) <= before
        with pytest.raises(ServiceUnavailableError, match="the encoder is shutting down"):
            running.submit(pages("late"), 1, "float32")


@MODES
def test_a_full_queue_refuses_and_goes_on(mode: str) -> None:
    with line(max_items=4, mode=mode) as running:
        running.occupy()
        waiting = running.submit(pages("a", "b", "c"), 1, "float32")
        with pytest.raises(OverloadedError, match="expected at most 4 of"):
            running.submit(pages("d", "e"), 1, "float32")
        (last,) = running.submit(pages("f"), 1, "float32")
        assert running.noted.counts["refused"] == 2
        assert running.noted.queue[0] == 4
        running.device.let_go()
        assert all(map(is_of, [*waiting, last], "abcf"))
        assert running.noted.counts["admitted"] == 5


def test_what_is_on_the_device_when_closing_is_finished() -> None:
    handed_over, go_on = threading.Event(), threading.Event()

    class Late(threading.Condition):
        """Keeps the host thread for a moment when it has handed over what it prepared."""

        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            host = threading.current_thread().name.startswith("host")
            if host and running.backlog.readied.acquire(blocking=False):
                handed_over.set()
                go_on.wait(TIMEOUT_S)

    running = Line(Host(), Device(), 10, 1)
    running._changed = Late()
    running.device.hold()
    running.start()
    (future,) = running.submit(pages("a"), 1, "float32")
    assert handed_over.wait(TIMEOUT_S)
    assert running.device.came.acquire(timeout=TIMEOUT_S)
    with ThreadPoolExecutor(1) as other:
        closing = other.submit(running.close)
        assert running.backlog.cleared.wait(TIMEOUT_S)
        go_on.set()
        running._threads[0].join(TIMEOUT_S)
        running.device.let_go()
        closing.result(TIMEOUT_S)
    assert is_of(future, "a")


def test_what_was_cancelled_is_counted_whoever_drops_it() -> None:
    with line(host_threads=1) as running:
        running.host.hold()
        (held,) = running.submit(pages("held"), 1, "float32")
        assert running.host.came.acquire(timeout=TIMEOUT_S)
        (gone,) = running.submit(pages("gone"), 1, "float32")
        assert gone.cancel()
        running.host.let_go()
        assert is_of(held, "held")
        assert is_of(*running.submit(pages("next"), 1, "float32"), "next")
        running.forget_cancelled()
        assert running.noted.counts["cancelled"] == 1


def test_a_queue_that_bad_items_have_left_is_empty() -> None:
    with line(Host(bad=["bad"])) as running:
        assert isinstance(answer(*running.submit(pages("bad"), 1, "float32")), InvalidPageError)
        assert len(running.backlog) == 0
        assert running.noted.queue[:2] == (0, 0)
