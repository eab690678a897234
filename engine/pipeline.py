"""Threads that keep the device busy: prepare ahead, batch what is ready, hand each result out.

    admitted --> host threads: decode, preprocess --> ready --> device: forward --> results

Nothing waits for a timer. A device that comes free takes at once what is ready; an item that
arrives while it is idle starts alone. While it is busy, host threads prepare the next batches,
and where the device can take one while it works on another, a full one is sent ahead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from colpali_serve.engine.backlog import Backlog, Job, Which
from colpali_serve.engine.finishing import Finisher, Result, shutting_down
from colpali_serve.engine.isolation import run_isolated
from colpali_serve.engine.items import Encoded, Input
from colpali_serve.engine.observing import Observer
from colpali_serve.engine.preparing import Prepared, Preparer
from colpali_serve.schemas import ColPaliError, EmbeddingDtype, ServiceUnavailableError

if TYPE_CHECKING:
    from colpali_serve.engine.device import Device, Staged

_FULL = 0.7
"""Share of the budget from which a batch is sent ahead: more may still come to a smaller one."""


class Pipeline:
    """Runs items through host and device. Start it, `submit` from any thread, `close` it.

    Args:
        prepare: Makes an item ready for the device; raises a typed error for a bad one.
        device: Runs batches.
        backlog: Bounds and order of what waits.
        observer: Is told what happens.
        host_threads: Items prepared at a time.
        batch_size: Items of one forward at most; None leaves it to the budget.
    """

    def __init__(
        self,
        prepare: Preparer,
        device: Device,
        backlog: Backlog,
        observer: Observer,
        host_threads: int,
        batch_size: int | None,
    ) -> None:
        self._prepare, self._device, self._observer = prepare, device, observer
        self._backlog, self._batch_size = backlog, batch_size
        self._host_threads = host_threads
        # One lock for all that is shared; what waits for it says for what.
        self._changed = threading.Condition()
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._ahead: tuple[list[Job], Staged | None] | None = None
        self._working = False
        self._finisher = Finisher(host_threads, observer)

    def start(self) -> None:
        """Start the threads."""
        device = self._device
        loops: list[tuple[str, Callable[[], None]]] = []
        loops += [("host", self._serve_host)] * self._host_threads
        loops += [("device", self._serve_device)] * device.workers
        loops += [("stage", self._serve_staging)] * device.stages
        # A query is a hundredth of a page: it need not wait until a forward of pages is over.
        loops += [("query", partial(self._serve_device, "queries"))] * device.query_lane
        for number, (name, loop) in enumerate(loops):
            # Daemons: a process whose owner forgets to close ends all the same.
            thread = threading.Thread(target=loop, name=f"{name}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Finish what is on the device, fail what waits, end the threads."""
        with self._changed:
            self._closed = True
            waiting = self._backlog.clear() + (self._ahead[0] if self._ahead else [])
            self._ahead = None
            self._changed.notify_all()
        for job in waiting:
            self._finisher.turn_away(job)
        for thread in self._threads:
            thread.join()
        self._finisher.close()

    def submit(
        self, entries: Sequence[Input], pool_factor: int, dtype: EmbeddingDtype
    ) -> list[Future[Result]]:
        """Queue items that belong together: all of them, or none.

        Args:
            entries: The items.
            pool_factor: How many times fewer vectors the images among them keep.
            dtype: Of the embeddings.

        Returns:
            One future an item, in order. It gets an `Encoded` or the typed error of the item, and
            raises nothing. Cancelling it drops the item unless the device has it already.

        Raises:
            OverloadedError: The queue is full.
            ServiceUnavailableError: The pipeline is closed.
        """
        jobs = [Job(entry, pool_factor, dtype) for entry in entries]
        with self._changed:
            if self._closed:
                raise ServiceUnavailableError("the encoder is shutting down")
            try:
                self._backlog.admit(jobs)
            except ColPaliError:
                self._observer.refused(len(jobs))
                raise
            self._observer.admitted(len(jobs))
            self._tell_queue()
            self._changed.notify_all()
        return [job.future for job in jobs]

    def forget_cancelled(self) -> None:
        """Drop items whose futures were cancelled, so that they leave the queue at once."""
        with self._changed:
            if gone := self._backlog.drop_cancelled():
                self._observer.cancelled(gone)
            self._tell_queue()
            self._changed.notify_all()

    def _tell_queue(self) -> None:
        backlog = self._backlog
        self._observer.queued(len(backlog), backlog.size_bytes, backlog.oldest_s())

    def _serve_host(self) -> None:
        while (job := self._next_raw()) is not None:
            assert job.entry
            error: ColPaliError | None = None
            try:
                job.prepared = self._prepare(job.entry)
            except ColPaliError as found:
                error = found
            job.entry = None  # its bytes are not needed any more
            with self._changed:
                if error is None and self._closed:
                    error = shutting_down(job)
                if error is None:
                    self._backlog.prepared(job)
                else:
                    self._backlog.gave_up(job)
                    self._tell_queue()
                self._changed.notify_all()
            if error is not None:
                self._finisher.fail(job, error)

    def _next_raw(self) -> Job | None:
        with self._changed:
            while not self._closed:
                # Two batches for each forward keep the device busy, and bound the memory.
                backlog = self._backlog
                ahead = 2 * self._device.budget * self._device.workers
                if job := backlog.next_raw(images=backlog.ready_patches < ahead):
                    return job
                self._changed.wait()
        return None

    def _serve_staging(self) -> None:
        """Send full batches of pages ahead; smaller ones only to a device that has nothing."""
        while jobs := self._next_ahead():
            staged = None
            # Whatever is wrong with a batch comes out again, and is dealt with, when it is run.
            with suppress(Exception):
                staged = self._device.stage(_prepared(jobs))
            with self._changed:
                if not self._closed:
                    self._ahead, jobs = (jobs, staged), []
                self._changed.notify_all()
            for job in jobs:
                self._finisher.turn_away(job)

    def _next_ahead(self) -> list[Job]:
        with self._changed:
            while not self._closed:
                budget = self._device.budget
                full = self._backlog.page_patches >= _FULL * budget
                soon = full or not self._working or self._backlog.pages_turn
                room = self._ahead is None and soon
                if jobs := self._take("pages") if room else []:
                    self._changed.notify_all()
                    return jobs
                self._changed.wait()
        return []

    def _serve_device(self, which: Which = "any") -> None:
        self._device.enter_thread()
        while batch := self._next_batch(which):
            self._run(*batch)
            del batch  # its tensors, too

    def _next_batch(self, which: Which) -> tuple[list[Job], Staged | None] | None:
        with self._changed:
            self._working = False
            self._changed.notify_all()
            while not self._closed:
                batch: tuple[list[Job], Staged | None] | None = None
                if jobs := self._take("queries" if self._device.stages else which):
                    batch = (jobs, None)
                elif self._ahead and which == "any":
                    batch, self._ahead = self._ahead, None
                    self._backlog.pages_went()
                if batch:
                    self._working = True
                    self._changed.notify_all()
                    return batch
                self._changed.wait()
        return None

    def _take(self, which: Which) -> list[Job]:
        """The next batch of items that somebody still waits for; they cannot be cancelled now."""
        pages_wait = self._ahead is not None
        while jobs := self._backlog.take(self._device.budget, self._batch_size, which, pages_wait):
            running = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if gone := len(jobs) - len(running):
                self._observer.cancelled(gone)
            self._tell_queue()
            if running:
                return running
        return []

    def _run(self, jobs: list[Job], staged: Staged | None) -> None:
        for job in jobs:
            self._observer.took("wait", self._backlog.age(job))

        sent = [staged]  # for the first try; a second one starts from the host, in halves

        def run(part: Sequence[Job]) -> list[Encoded]:
            # Pooling wants full precision and all vectors; other floats leave as asked.
            dtypes = ["float32" if job.changes_after else job.dtype for job in part]
            prepared = _prepared(part)
            embeddings = self._device.run(prepared, dtypes, sent.pop() if sent else None)
            return [
                Encoded(one.weighed(embedding), one.grid, one.token_ids, box=one.box)
                for embedding, one in zip(embeddings, prepared, strict=True)
            ]

        results = run_isolated(jobs, run, lambda job: job.name, self._on_failure)
        for job, result in zip(jobs, results, strict=True):
            self._finisher.finish(job, result)

    def _on_failure(self, jobs: Sequence[Job], out_of_memory: bool) -> None:
        self._observer.halved()
        if out_of_memory:
            lengths = [one.length for one in _prepared(jobs)]
            self._device.ran_out_of_memory(max(lengths) * len(lengths))
            self._observer.out_of_memory(self._device.budget)


def _prepared(jobs: Sequence[Job]) -> list[Prepared]:
    return [job.prepared for job in jobs if job.prepared is not None]
