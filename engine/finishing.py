"""The last step of a job: pool and compress where asked, hand the result to who waits for it."""

from __future__ import annotations

from concurrent.futures import InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from colpali_serve.engine.backlog import Job
from colpali_serve.engine.items import Encoded
from colpali_serve.engine.margins import WHOLE
from colpali_serve.engine.observing import Observer
from colpali_serve.engine.pooling import pool
from colpali_serve.schemas import (
    ColPaliError,
    Compressed,
    EncodingError,
    ServiceUnavailableError,
    compress,
)

Result = Encoded | ColPaliError


class Finisher:
    """Answers jobs; pooling and compressing have threads of their own. Close it when done.

    Args:
        threads: Embeddings that are changed at a time.
        observer: Is told how long it took, and what failed.
    """

    def __init__(self, threads: int, observer: Observer) -> None:
        self._observer = observer
        self._changing = ThreadPoolExecutor(threads, "pool")

    def finish(self, job: Job, result: Result) -> None:
        """Answer a job that the device is done with."""
        job.prepared = None
        if isinstance(result, ColPaliError):
            self.fail(job, result)
        elif job.changes_after:
            self._changing.submit(self._change, job, result)
        else:
            _answer(job, result)

    def fail(self, job: Job, error: ColPaliError) -> None:
        """Answer a job with an error of its own."""
        self._observer.failed()
        _answer(job, error)

    def turn_away(self, job: Job) -> None:
        """Answer a job that nobody will work on any more."""
        _answer(job, shutting_down(job))

    def close(self) -> None:
        """Finish what is being changed, end the threads."""
        self._changing.shutdown()

    def _change(self, job: Job, encoded: Encoded) -> None:
        pooled = job.pool_factor > 1
        try:
            with self._observer.stage("pool"):
                rows = pool(encoded.embedding, job.pool_factor)
                changed = compress(rows, job.dtype, job.name[0])
        except Exception as error:  # noqa: BLE001  (it stays as the cause)
            what = f"pooling by {job.pool_factor} to {job.dtype} failed"
            failure = EncodingError(f"{job.name[0]}: {what}, expected an embedding")
            failure.__cause__ = error
            self.fail(job, failure)
            return
        # Fewer vectors stand for no grid and no token any more.
        if pooled:
            encoded = replace(encoded, grid=None, token_ids=None, box=WHOLE)
        if isinstance(changed, Compressed):
            encoded = replace(encoded, embedding=changed.values, scale=changed.scale)
        else:
            encoded = replace(encoded, embedding=changed)
        _answer(job, encoded)


def shutting_down(job: Job) -> ServiceUnavailableError:
    """The error of a job that came too late."""
    return ServiceUnavailableError(f"{job.name[0]}: the encoder is shutting down", job.name[1])


def _answer(job: Job, result: Result) -> None:
    # Where its caller went away there is nobody to tell.
    with suppress(InvalidStateError):
        job.future.set_result(result)
