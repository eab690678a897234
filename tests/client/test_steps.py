"""Steps: in order, not more at once than allowed, and tidy when they fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from colpali_serve.client.steps import Steps, collected, mapped, pipelined, run


def requests(count: int) -> Steps[int]:
    for number in range(count):
        yield [number]


def test_answers_keep_the_order_of_requests() -> None:
    with ThreadPoolExecutor(4) as pool:

        def post(number: int) -> Future[int]:
            return pool.submit(lambda: (time.sleep(0.01 * (number % 3)), number * 10)[1])

        answers = list(run(pipelined(requests(20), post, 4)))
    assert answers == [(number, number * 10) for number in range(20)]


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_than_the_limit_at_once(limit: int) -> None:
    lock = threading.Lock()
    now, most = 0, 0

    def work(number: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        return number

    with ThreadPoolExecutor(8) as pool:
        list(run(pipelined(requests(20), lambda number: pool.submit(work, number), limit)))
    assert most == limit


def test_failure_cancels_what_was_posted_after_it() -> None:
    posted: list[Future[int]] = []

    def post(number: int) -> Future[int]:
        future: Future[int] = Future()
        posted.append(future)
        if number == 0:
            threading.Timer(0.05, future.set_exception, [KeyError("boom")]).start()
        return future

    with pytest.raises(KeyError, match="boom"):
        list(run(pipelined(requests(9), post, 3)))
    assert [future.cancelled() for future in posted] == [False, True, True]


def test_closing_reaches_the_innermost_generator() -> None:
    closed = []

    def source() -> Steps[int]:
        try:
            yield from requests(5)
        finally:
            closed.append(True)

    def done(number: int) -> Future[int]:
        future: Future[int] = Future()
        future.set_result(number)
        return future

    steps = mapped(pipelined(source(), done, 1), lambda pair: [pair[1]])
    results = run(steps)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert closed == [True]


def test_collecting_passes_waits_on() -> None:
    pending: Future[None] = Future()

    def steps() -> Steps[int]:
        yield [1]
        yield pending
        yield [2, 3]

    collecting = collected(steps())
    assert next(collecting) is pending
    with pytest.raises(StopIteration) as stop:
        next(collecting)
    assert stop.value.value == [1, 2, 3]


def test_mapping_changes_the_number_of_results() -> None:
    twice: Callable[[int], list[int]] = lambda number: [number] * number  # noqa: E731
    assert list(run(mapped(requests(4), twice))) == [1, 2, 2, 3, 3, 3]
