"""The device works as soon as there is work, on as much as there is; nobody waits for a timer.

Host and device are stand-ins that a test holds, so that what waits while they are busy is known.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from colpali_serve.engine.items import Encoded
from colpali_serve.schemas import (
    InvalidPageError,
)
from tests.engine.standins import (
    LENGTH,
    MODES,
    TIMEOUT_S,
    Device,
    Host,
    Line,
    answer,
    image_queries,
    is_of,
    line,
    pages,
    texts,
)


@MODES
def test_an_idle_device_starts_a_lone_item_at_once(mode: str) -> None:
    with line(mode=mode) as running:
        for name in "ab":
            (future,) = running.submit(pages(name), 1, "float32")
            assert is_of(future, name)
        assert running.device.batches == [["a"], ["b"]]


@MODES
def test_what_comes_while_the_device_is_busy_goes_together(mode: str) -> None:
    with line(mode=mode) as running:
        running.occupy()
        futures = [running.submit(pages(name), 1, "float32")[0] for name in "abcde"]
        running.wait_until_ready(5)
        running.device.let_go()
        assert all(is_of(future, name) for future, name in zip(futures, "abcde", strict=True))
        first, batch = running.device.batches
        assert (first, sorted(batch)) == (["first"], list("abcde"))


@MODES
def test_a_batch_holds_what_the_budget_allows(mode: str) -> None:
    with line(device=Device(budget=3 * LENGTH), mode=mode) as running:
        running.occupy()
        futures = running.submit(pages(*range(7)), 1, "float32")
        running.wait_until_ready(6)  # no page is prepared beyond two batches
        running.device.let_go()
        assert all(is_of(future, str(name)) for name, future in enumerate(futures))
        assert [len(batch) for batch in running.device.batches] == [1, 3, 3, 1]


@pytest.mark.parametrize("mode", ["one by one", "takes ahead"])
def test_queries_overtake_pages(mode: str) -> None:
    with line(mode=mode) as running:
        running.occupy()
        waiting = running.submit(pages("a", "b"), 1, "float32")
        asked = running.submit([*texts("q"), *image_queries("r")], 1, "float32")
        running.wait_until_ready(4)
        running.device.let_go()
        assert all(map(answer, waiting + asked))
        batches = [sorted(batch) for batch in running.device.batches]
        # A query that is an image takes pages along, unless those go ahead by themselves.
        alone = mode == "takes ahead"
        assert batches[:2] == [["first"], ["q"]]
        assert batches[2:] == ([["r"], ["a", "b"]] if alone else [["a", "b", "r"]])


def test_queries_run_beside_pages_where_they_can() -> None:
    with line(mode="query lane") as running:
        running.occupy()
        (page,) = running.submit(pages("page"), 1, "float32")
        for name in "abc":
            assert is_of(*running.submit(texts(name), 1, "float32"), name)
        assert not page.done()
        running.device.let_go()
        assert is_of(page, "page")
        assert running.device.batches == [["first"], ["a"], ["b"], ["c"], ["page"]]


def prepared_ahead(running: Line) -> int:
    """Items that the host has prepared for a device that is held when it stops of itself."""
    assert running.backlog.paused.wait(TIMEOUT_S)
    return len(running.host.seen) - 1


def test_no_more_than_two_batches_of_pages_are_prepared_ahead() -> None:
    with line(device=Device(budget=5 * LENGTH), host_threads=1) as running:
        running.occupy()
        running.backlog.paused.clear()
        futures = running.submit(pages(*range(50)), 1, "float32")
        assert prepared_ahead(running) == 10
        # A query does not wait behind them.
        (query,) = running.submit(texts("q"), 1, "float32")
        running.wait_until_ready(11)
        running.device.let_go()
        assert is_of(query, "q")
        assert all(is_of(future, str(name)) for name, future in enumerate(futures))


def test_pages_are_pooled_and_leave_as_asked_and_queries_keep_their_vectors() -> None:
    lengths = {"page": 12, "whole": 12, "query": 12}
    with line(Host(lengths=lengths)) as running:
        (pooled,) = running.submit(pages("page"), 3, "float16")
        (whole,) = running.submit(pages("whole"), 1, "float16")
        (query,) = running.submit(image_queries("query"), 3, "float32")
        found = [answer(future) for future in (pooled, whole, query)]
        assert all(isinstance(one, Encoded) for one in found)
        shapes = [(len(one.embedding), one.embedding.dtype.name, one.grid) for one in found]
        assert shapes == [(4, "float16", None), (12, "float16", (2, 2)), (12, "float32", (2, 2))]
        norms = np.linalg.norm(found[0].embedding.astype(np.float32), axis=1)
        np.testing.assert_allclose(norms, 1, atol=1e-3)


def test_pages_are_compressed_and_queries_stay_floats() -> None:
    with line(Host(lengths={"page": 12, "few": 12})) as running:
        (signs,) = running.submit(pages("page"), 1, "binary")
        (small,) = running.submit(pages("few"), 3, "int8")
        (query,) = running.submit(image_queries("query"), 1, "int8")
        found = [answer(future) for future in (signs, small, query)]
    assert all(isinstance(one, Encoded) for one in found)
    assert [one.embedding.dtype for one in found] == [np.uint8, np.int8, np.float16]
    assert [one.scale is None for one in found] == [False, False, True]
    assert [one.grid for one in found] == [(2, 2), None, (2, 2)]
    assert len(found[1].embedding) == 4


@MODES
def test_many_callers_each_get_their_own_answers(mode: str) -> None:
    with line(Host(bad=["3-5"]), Device(workers=3), host_threads=3, mode=mode) as running:

        def call(caller: int) -> list[bool]:
            names = [f"{caller}-{number}" for number in range(30)]
            entries = [*pages(*names[:20]), *texts(*names[20:])]
            futures = [future for e in entries for future in running.submit([e], 1, "float32")]
            return [
                isinstance(answer(f), InvalidPageError) or is_of(f, n)
                for f, n in zip(futures, names, strict=True)
            ]

        with ThreadPoolExecutor(8) as callers:
            assert all(map(all, callers.map(call, range(8))))
        assert running.noted.counts == {
            "admitted": 240,
            "refused": 0,
            "cancelled": 0,
            "failed": 1,
            "halved": 0,
        }
        assert sum(map(len, running.device.batches)) == 239
        assert (len(running.backlog), running.backlog.size_bytes) == (0, 0)


def test_a_page_gets_its_turn_on_a_device_that_takes_ahead() -> None:
    names = [f"q{number}" for number in range(40)]
    device, lengths = Device(budget=10 * LENGTH), dict.fromkeys(names, 10 * LENGTH)
    with line(Host(lengths=lengths), device, mode="takes ahead") as running:
        running.occupy()
        (page,) = running.submit(pages("page"), 1, "float32")
        running.wait_until_ready(1)
        queries = running.submit(texts(*names), 1, "float32")
        running.wait_until_ready(40)
        running.device.let_go()
        assert all(map(answer, [page, *queries]))
        # Its turn comes after eight batches of queries, and once more eight when it is on its way.
        assert device.batches.index(["page"]) <= 17


def test_image_queries_are_not_prepared_without_bound() -> None:
    with line(device=Device(budget=5 * LENGTH), host_threads=1) as running:
        running.occupy()
        running.backlog.paused.clear()
        running.submit(image_queries(*range(50)), 1, "float32")
        assert prepared_ahead(running) <= 20
