"""The last step of a job: pool what shall be pooled, and hand the result to who waits for it."""

from __future__ import annotations

from concurrent.futures import InvalidStateError, ThreadPoolExecutor
from contextlib import suppress

from colpali_serve.engine.backlog import Job
from colpali_serve.engine.items import Encoded
from colpali_serve.engine.observing import Observer
from colpali_serve.engine.pooling import pool
from colpali_serve.schemas import ColPaliError, EncodingError, ServiceUnavailableError

Result = Encoded | ColPaliError


class Finisher:
    """Answers jobs; pooling, which takes seconds, has threads of its own. Close it when done.

    Args:
        threads: Embeddings pooled at a time.
        observer: Is told how long it took, and what failed.
    """

    def __init__(self, threads: int, observer: Observer) -> None:
        self._observer = observer
        self._pooling = ThreadPoolExecutor(threads, "pool")

    def finish(self, job: Job, result: Result) -> None:
        """Answer a job that the device is done with."""
        job.prepared = None
        if isinstance(result, ColPaliError):
            self.fail(job, result)
        elif job.pool_factor > 1:
            self._pooling.submit(self._pool, job, result)
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
        """Finish what is being pooled, end the threads."""
        self._pooling.shutdown()

    def _pool(self, job: Job, encoded: Encoded) -> None:
        try:
            with self._observer.stage("pool"):
                rows = pool(encoded.embedding, job.pool_factor).astype(job.dtype)
        except Exception as error:  # noqa: BLE001  (it stays as the cause)
            failure = EncodingError(f"{job.name[0]}: pooling failed, expected an embedding")
            failure.__cause__ = error
            self.fail(job, failure)
            return
        _answer(job, Encoded(rows))


def shutting_down(job: Job) -> ServiceUnavailableError:
    """The error of a job that came too late."""
    return ServiceUnavailableError(f"{job.name[0]}: the encoder is shutting down", job.name[1])


def _answer(job: Job, result: Result) -> None:
    # Where its caller went away there is nobody to tell.
    with suppress(InvalidStateError):
        job.future.set_result(result)
