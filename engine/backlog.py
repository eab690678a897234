"""What waits for the device, and what of it goes next. No threads here: the pipeline locks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from colpali_serve.engine.items import Encoded, ImageInput, Input
from colpali_serve.engine.preparing import Prepared
from colpali_serve.schemas import ColPaliError, EmbeddingDtype, OverloadedError

# Rows of padding among the rows of a batch that are worth a larger batch.
_MOST_PADDING = 0.2
Which = Literal["any", "queries", "pages"]
_QUERY_TURNS = 8
"""Batches of queries after which a batch of pages that wait gets its turn."""


@dataclass(eq=False)
class Job:
    """An item on its way through the encoder.

    Attributes:
        entry: What was asked; None once it is prepared.
        pool_factor: How many times fewer vectors to keep.
        dtype: Of the embedding that leaves; "int8" and "binary" are for pages.
        future: Gets an `Encoded`, or the typed error that the item got. Cancelling it drops
            the item.
        size_bytes: Held while it waits.
        arrived: `time.monotonic()` when it was admitted.
        prepared: What the device takes.
    """

    entry: Input | None
    pool_factor: int
    dtype: EmbeddingDtype
    future: Future[Encoded | ColPaliError] = field(default_factory=Future)
    size_bytes: int = 0
    arrived: float = 0.0
    prepared: Prepared | None = None
    name: tuple[str, str] = ("", "")
    urgent: bool = False
    has_image: bool = False

    def __post_init__(self) -> None:
        if self.entry is not None:
            self.size_bytes = self.entry.nbytes
            self.name = (self.entry.owner, self.entry.id)
            self.has_image = isinstance(self.entry, ImageInput)
            self.urgent = self.entry.kind == "query"
            if self.urgent:  # what is looked for keeps all its vectors, an image too
                self.pool_factor = 1
                self.dtype = "float16" if self.dtype in ("int8", "binary") else self.dtype

    @property
    def changes_after(self) -> bool:
        """Whether the device's float32 vectors are pooled or compressed before they leave."""
        return self.pool_factor > 1 or self.dtype in ("int8", "binary")


class Backlog:
    """Items from their admission until a batch takes them.

    Queries go before pages, older items before younger ones of their class.

    Args:
        max_items: Most items that may wait.
        max_bytes: Most bytes of images and texts that may wait.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items, self._max_bytes = max_items, max_bytes
        self._raw: tuple[deque[Job], deque[Job]] = (deque(), deque())  # urgent, others
        self._ready: list[Job] = []
        self._preparing: set[Job] = set()
        self._bytes = 0
        self._turns = 0
        self._gone = 0

    def __len__(self) -> int:
        return sum(map(len, self._raw)) + len(self._preparing) + len(self._ready)

    @property
    def size_bytes(self) -> int:
        """Bytes of the images and texts that wait."""
        return self._bytes

    @property
    def ready_patches(self) -> int:
        """Patches of the images that are prepared, and one for each that is being prepared."""
        waiting = sum(_ready(job).length for job in self._ready if job.has_image)
        return waiting + sum(job.has_image for job in self._preparing)

    def oldest_s(self) -> float:
        """Age of the oldest item in seconds, 0 if there is none."""
        firsts = [queue[0] for queue in self._raw if queue]
        jobs = [*firsts, *self._preparing, *self._ready]
        return time.monotonic() - min(job.arrived for job in jobs) if jobs else 0.0

    def admit(self, jobs: Sequence[Job]) -> None:
        """Take in all items of a request, or none.

        A request that is larger than the bounds is taken when nothing else waits, since it would
        never be otherwise; how large a request may be is for others to say.

        Raises:
            OverloadedError: They do not fit.
        """
        size = sum(job.size_bytes for job in jobs)
        items, waiting = len(jobs), len(self)
        fits = waiting + items <= self._max_items and self._bytes + size <= self._max_bytes
        if waiting and not fits:
            raise OverloadedError(
                f"{waiting} items of {self._bytes} bytes wait already and {items} of {size} bytes "
                f"came, expected at most {self._max_items} of {self._max_bytes} bytes; try again "
                "later"
            )
        now = time.monotonic()
        for job in jobs:
            job.arrived = now
            self._raw[not job.urgent].append(job)
        self._bytes += size

    def next_raw(self, images: bool) -> Job | None:
        """The item that is to be prepared next.

        Args:
            images: Whether it may be an image; a text always may.
        """
        self._forget_cancelled_raw()
        for queue in self._raw:
            for job in queue:
                if images or not job.has_image:
                    queue.remove(job)
                    self._preparing.add(job)
                    return job
                if not job.urgent:
                    break  # pages are all images
        return None

    def prepared(self, job: Job) -> None:
        """An item is ready for the device."""
        self._forget(job)
        self._ready.append(job)

    def gave_up(self, job: Job) -> None:
        """An item could not be prepared, or nobody waits for it any more."""
        self._forget(job)

    def _forget(self, job: Job) -> None:
        self._preparing.discard(job)
        self._bytes -= job.size_bytes
        job.size_bytes = 0

    @staticmethod
    def age(job: Job) -> float:
        """Seconds since an item was admitted."""
        return time.monotonic() - job.arrived

    def clear(self) -> list[Job]:
        """Take out all that waits and is not being prepared."""
        jobs = [*self._raw[0], *self._raw[1], *self._ready]
        for queue in self._raw:
            queue.clear()
        self._ready = []
        self._bytes = sum(job.size_bytes for job in self._preparing)
        return jobs

    def _forget_cancelled_raw(self) -> None:
        for queue in self._raw:
            if any(job.future.cancelled() for job in queue):
                kept = [job for job in queue if not job.future.cancelled()]
                self._gone += len(queue) - len(kept)
                self._bytes -= sum(job.size_bytes for job in queue if job.future.cancelled())
                queue.clear()
                queue.extend(kept)

    def drop_cancelled(self) -> int:
        """Forget items whose callers have gone, and say how many there were since last asked."""
        self._forget_cancelled_raw()
        ready = [job for job in self._ready if not job.future.cancelled()]
        gone, self._gone = self._gone + len(self._ready) - len(ready), 0
        self._ready = ready
        return gone

    def take(
        self, budget: int, batch_size: int | None, which: Which = "any", pages_wait: bool = False
    ) -> list[Job]:
        """Take the next batch out; empty if nothing is ready.

        The oldest query leads, or the oldest page where no query is ready. Ready items of its
        kind join it, those of the most similar length first, as long as the padded batch stays
        within the budget.

        Args:
            budget: Patches of one forward, padding included. One item always goes.
            batch_size: Items of one forward at most; None for no such bound.
            which: What may be taken: "any", "queries" or "pages".
            pages_wait: Whether pages that were taken before still wait for the device.
        """
        ready = sorted(self._ready, key=lambda job: job.arrived)  # stable: order of arrival
        waiting = [job for job in ready if not job.urgent]
        pages = waiting if which != "queries" else []
        queries = [job for job in ready if job.urgent and which != "pages"]
        # Pages that somebody else is to take wait as well: after so many turns nobody goes first.
        pages_wait = pages_wait or bool(waiting)
        if queries and not (pages_wait and self.pages_turn):
            lead, self._turns = queries[0], self._turns + 1
        elif pages:
            lead = pages[0]
            self.pages_went()
        else:
            return []
        chosen = _together(lead, queries + pages, budget, batch_size)
        gone = set(chosen)
        self._ready = [job for job in self._ready if job not in gone]
        return chosen

    def pages_went(self) -> None:
        """Pages got their turn: queries may go first again."""
        self._turns = 0

    @property
    def pages_turn(self) -> bool:
        """Whether queries have had so many turns that pages come next."""
        return self._turns >= _QUERY_TURNS

    @property
    def page_patches(self) -> int:
        """Patches of the pages that are ready."""
        return sum(_ready(job).length for job in self._ready if not job.urgent)


def _together(lead: Job, ready: Iterable[Job], budget: int, batch_size: int | None) -> list[Job]:
    has_image, length = _ready(lead).has_image, _ready(lead).length
    same = [job for job in ready if job is not lead and _ready(job).has_image == has_image]
    # Queries before pages, whatever their lengths; `sort` keeps the order of what is alike.
    same.sort(key=lambda job: (not job.urgent, abs(_ready(job).length - length)))
    chosen, longest, real = [lead], length, length
    for job in same:
        if len(chosen) == batch_size:
            break
        most, rows = max(longest, _ready(job).length), real + _ready(job).length
        padded = most * (len(chosen) + 1)
        # Texts are short: their padding costs less than another forward.
        if padded > budget or (has_image and padded - rows > _MOST_PADDING * padded):
            continue
        chosen.append(job)
        longest, real = most, rows
    return chosen


def _ready(job: Job) -> Prepared:
    assert job.prepared is not None, "only prepared items become a batch"
    return job.prepared
