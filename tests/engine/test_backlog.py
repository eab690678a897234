"""What waits goes once, in its turn, together with what goes well with it; no thread is needed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from colpali_serve.engine.backlog import Backlog, Job
from colpali_serve.engine.items import ImageInput, TextInput
from colpali_serve.engine.preparing import Prepared
from colpali_serve.schemas import OverloadedError

MOST_PADDING = 0.2
QUERY_TURNS = 8


def job(kind: str = "page", nbytes: int = 1) -> Job:
    if kind == "text":
        return Job(TextInput("q", "x" * nbytes), 1, "float32")
    entry_kind = "query" if kind == "image query" else "page"
    return Job(ImageInput("p", b"x" * nbytes, kind=entry_kind), 3, "float32")


def ready(backlog: Backlog, *items: tuple[str, int]) -> list[Job]:
    """Admit items one by one and make them ready; each is its kind and its length."""
    jobs = [job(kind) for kind, _ in items]
    for new in jobs:
        backlog.admit([new])
    for _ in jobs:
        found = backlog.next_raw(images=True)
        assert found is not None
        length = items[jobs.index(found)][1]
        found.prepared = prepared(found, length)
        backlog.prepared(found)
    return jobs


def prepared(of: Job, length: int) -> Prepared:
    return Prepared({"pixel_values": None} if isinstance(of.entry, ImageInput) else {}, length)


def padding(lengths: Sequence[int]) -> float:
    return 1 - sum(lengths) / (max(lengths) * len(lengths))


def has_image(one: Job) -> bool:
    assert one.prepared is not None
    return one.prepared.has_image


class Life(RuleBasedStateMachine):
    """Anything that may happen to a backlog, beside a plain account of what should be in it."""

    kinds = st.sampled_from(["page", "text", "image query"])

    def __init__(self) -> None:
        super().__init__()
        self.backlog = Backlog(20, 200)
        self.raw: list[Job] = []
        self.preparing: list[Job] = []
        self.ready: list[Job] = []
        self.turns = 0
        self.gone = 0

    @rule(items=st.lists(st.tuples(kinds, st.integers(1, 40)), min_size=1, max_size=12))
    def admit(self, items: list[tuple[str, int]]) -> None:
        jobs = [job(*item) for item in items]
        waiting = len(self.raw) + len(self.preparing) + len(self.ready)
        size = self.size_bytes() + sum(nbytes for _, nbytes in items)
        if waiting and (waiting + len(jobs) > 20 or size > 200):
            with pytest.raises(OverloadedError):
                self.backlog.admit(jobs)
        else:
            self.backlog.admit(jobs)
            self.raw += jobs

    @rule(images=st.booleans())
    def begin(self, images: bool) -> None:
        waiting = [one for one in self.raw if not one.future.cancelled()]
        # Those that nobody waits for any more are gone, and counted when it is asked next.
        self.gone += len(self.raw) - len(waiting)
        self.raw = waiting
        allowed = [one for one in waiting if images or not one.has_image]
        expected = sorted(allowed, key=lambda one: not one.urgent)[:1]
        found = self.backlog.next_raw(images)
        assert [found] == (expected or [None])
        if found is not None:
            self.raw.remove(found)
            self.preparing.append(found)

    @precondition(lambda self: self.preparing)
    @rule(data=st.data(), length=st.integers(1, 50), good=st.booleans())
    def finish(self, data: st.DataObject, length: int, good: bool) -> None:
        one = data.draw(st.sampled_from(self.preparing))
        self.preparing.remove(one)
        if good:
            one.prepared = prepared(one, length)
            self.backlog.prepared(one)
            self.ready.append(one)
        else:
            self.backlog.gave_up(one)

    @precondition(lambda self: self.raw or self.ready)
    @rule(data=st.data(), tell=st.booleans())
    def cancel(self, data: st.DataObject, tell: bool) -> None:
        data.draw(st.sampled_from(self.raw + self.ready)).future.cancel()
        if tell:
            gone = [one for one in self.raw + self.ready if one.future.cancelled()]
            assert self.backlog.drop_cancelled() == len(gone) + self.gone
            self.gone = 0
            self.raw = [one for one in self.raw if one not in gone]
            self.ready = [one for one in self.ready if one not in gone]

    @rule(budget=st.integers(1, 200), batch_size=st.none() | st.integers(1, 5))
    def take(self, budget: int, batch_size: int | None) -> None:
        batch = self.backlog.take(budget, batch_size)
        assert bool(batch) == bool(self.ready)
        if not batch:
            return
        assert set(batch) <= set(self.ready)
        assert len(set(batch)) == len(batch)
        queries = [one for one in self.ready if one.urgent]
        pages = [one for one in self.ready if not one.urgent]
        turn = pages if not queries or (pages and self.turns >= QUERY_TURNS) else queries
        self.turns = self.turns + 1 if turn is queries else 0
        assert batch[0] in turn
        assert batch[0].arrived == min(one.arrived for one in turn)
        assert len({has_image(one) for one in batch}) == 1
        assert batch_size is None or len(batch) <= batch_size
        lengths = [one.prepared.length for one in batch if one.prepared]
        assert len(batch) == 1 or max(lengths) * len(batch) <= budget
        assert not has_image(batch[0]) or padding(lengths) <= MOST_PADDING + 1e-9
        self.ready = [one for one in self.ready if one not in batch]

    def size_bytes(self) -> int:
        return sum(one.size_bytes for one in self.raw + self.preparing)

    @invariant()
    def accounts_agree(self) -> None:
        assert len(self.backlog) == len(self.raw) + len(self.preparing) + len(self.ready)
        assert self.backlog.size_bytes == self.size_bytes()
        assert (self.backlog.oldest_s() > 0) == bool(len(self.backlog))

    def teardown(self) -> None:
        """Whatever is left goes, each item once; nothing stays behind."""
        self.begin_all()
        while self.ready:
            self.take(100, None)
        assert (len(self.backlog), self.backlog.size_bytes) == (0, 0)

    def begin_all(self) -> None:
        while self.raw:
            self.begin(True)
        for one in list(self.preparing):
            one.prepared = prepared(one, 7)
            self.backlog.prepared(one)
        self.ready, self.preparing = self.ready + self.preparing, []


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_request_fits_whole_or_not_at_all() -> None:
    backlog = Backlog(5, 100)
    backlog.admit([job(), job(), job()])
    with pytest.raises(OverloadedError) as caught:
        backlog.admit([job(), job(), job()])
    assert caught.value.message == (
        "3 items of 3 bytes wait already and 3 of 3 bytes came, expected at most 5 of 100 "
        "bytes; try again later"
    )
    with pytest.raises(OverloadedError, match="1 of 98 bytes came"):
        backlog.admit([job(nbytes=98)])
    assert (len(backlog), backlog.size_bytes) == (3, 3)
    backlog.admit([job(), job(nbytes=96)])


def test_a_request_beyond_the_bounds_is_taken_when_nothing_waits() -> None:
    backlog = Backlog(2, 10)
    backlog.admit([job(nbytes=50) for _ in range(7)])
    assert (len(backlog), backlog.size_bytes) == (7, 350)
    with pytest.raises(OverloadedError):
        backlog.admit([job("text")])


def test_pages_get_a_turn_after_eight_batches_of_queries() -> None:
    backlog = Backlog(100, 100)
    items = ready(backlog, ("page", 5), *[("text", 5)] * 20)
    leads = [backlog.take(1, None) for _ in range(21)]
    assert [batch[0].urgent for batch in leads].index(False) == QUERY_TURNS
    assert leads[QUERY_TURNS] == [items[0]]
    assert [batch for batch in leads if batch != [items[0]]] == [[item] for item in items[1:]]


def test_like_lengths_go_together_and_queries_before_pages() -> None:
    backlog = Backlog(100, 100)
    lengths = (100, 50, 100, 97, 60, 99)
    first, _, second, third, _, fourth = ready(backlog, *[("page", n) for n in lengths])
    assert backlog.take(400, None) == [first, second, fourth, third]
    (wanted,) = ready(backlog, ("image query", 55))
    assert backlog.take(400, None)[0] is wanted
    assert wanted.pool_factor == 1
    assert first.pool_factor == 3


def test_texts_may_be_padded_and_pages_hardly() -> None:
    backlog = Backlog(100, 100)
    ready(backlog, ("page", 100), ("page", 10), ("text", 100), ("text", 10))
    assert [len(backlog.take(1000, None)) for _ in range(3)] == [2, 1, 1]


def test_what_is_prepared_ahead_is_counted_in_patches() -> None:
    backlog = Backlog(100, 100)
    ready(backlog, ("page", 40), ("page", 2), ("text", 9))
    backlog.admit([job()])
    backlog.next_raw(images=True)
    assert backlog.ready_patches == 43


def test_clearing_gives_back_what_is_not_being_prepared() -> None:
    backlog = Backlog(100, 100)
    (done,) = ready(backlog, ("page", 1))
    backlog.admit([job(), job("text"), job(nbytes=9)])
    held = backlog.next_raw(images=True)
    assert held is not None
    cleared = backlog.clear()
    assert len(cleared) == 3
    assert done in cleared
    assert (len(backlog), backlog.size_bytes) == (1, held.size_bytes)
    backlog.gave_up(held)
    assert (len(backlog), backlog.size_bytes, backlog.take(1, None)) == (0, 0, [])
