"""The encoder: encoded images and texts in, embeddings out, one bad item hurting nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from itertools import islice
from types import TracebackType
from typing import Self

from colpali_serve.engine.backlog import Backlog
from colpali_serve.engine.device import Device
from colpali_serve.engine.finishing import Result
from colpali_serve.engine.heatmap import Heatmap, Heatmapper
from colpali_serve.engine.items import Encoded, ImageInput, Input, TextInput
from colpali_serve.engine.loading import LoadedModel, load_model
from colpali_serve.engine.machine import choose_host_threads, choose_threads, choose_workers
from colpali_serve.engine.observing import Observer
from colpali_serve.engine.pipeline import Pipeline
from colpali_serve.engine.preparing import Preparer
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ColPaliError, EmbeddingDtype, OverloadedError

__all__ = ["Encoded", "Encoder", "ImageInput", "TextInput"]

_MEBIBYTE = 1024**2


class Encoder:
    """Embeds pages and queries with one proved model, from any number of threads at once.

    Requests share the device: what waits goes together, queries before pages. Close it when done,
    or use it in a `with` statement.

    Args:
        loaded: The model.
        settings: Limits, batches, queue and pooling.
        observer: Is told what happens.
    """

    def __init__(
        self, loaded: LoadedModel, settings: EncoderSettings, observer: Observer | None = None
    ) -> None:
        observer = observer or Observer()
        self.loaded = loaded
        self.settings = settings
        threads = choose_threads(settings.threads)
        alone = loaded.family.stateful_forward
        workers = choose_workers(settings.workers, threads, loaded.device, alone)
        host_threads = choose_host_threads(settings.host_threads)
        self._pipeline = Pipeline(
            Preparer(loaded, settings, observer),
            Device(loaded, settings, workers, threads, observer),
            Backlog(settings.max_queue_items, settings.max_queue_mb * _MEBIBYTE),
            observer,
            host_threads,
            settings.batch_size,
        )
        self.heatmapper = Heatmapper(loaded, settings)
        # In process one caller keeps no more in the queue than keeps the device busy.
        self._window = max(1, min(settings.max_queue_items, 4 * (host_threads + workers)) // 2)
        self._pipeline.start()

    @classmethod
    def load(cls, settings: EncoderSettings, observer: Observer | None = None) -> Encoder:
        """Load and prove the model that the settings name, and measure how large batches may be.

        Raises:
            ConfigError: The device is not there.
            ModelLoadError: The checkpoint could not be found, loaded or proved.
        """
        return cls(load_model(settings), settings, observer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish what is on the device, fail what waits, end the threads."""
        self._pipeline.close()

    def submit(
        self,
        inputs: Sequence[Input],
        pool_factor: int | None = None,
        dtype: EmbeddingDtype = "float32",
    ) -> list[Future[Result]]:
        """Queue items that belong together: all of them, or none.

        Args:
            inputs: Images and texts.
            pool_factor: Overrides the setting. Pages are pooled, queries never.
            dtype: Of the embeddings. "int8" and "binary" are for pages; queries are float16 then.

        Returns:
            One future an item, in order. It gets an `Encoded` or the typed error of the item, and
            raises nothing. Cancelling it drops the item, unless the device has it already; tell
            `forget_cancelled` when a request's are cancelled.

        Raises:
            OverloadedError: The queue is full.
            ServiceUnavailableError: The encoder is closed.
        """
        return self._pipeline.submit(inputs, pool_factor or self.settings.pool_factor, dtype)

    def forget_cancelled(self) -> None:
        """Let items whose futures were cancelled leave the queue at once."""
        self._pipeline.forget_cancelled()

    def embed_images(
        self, inputs: Iterable[ImageInput], pool_factor: int | None = None
    ) -> list[Result]:
        """Embed images, of any mixture of sizes and formats, and wait for them.

        Args:
            inputs: The images; an iterator is read as far as there is room.
            pool_factor: Overrides the setting.

        Returns:
            One entry an image, in order; for a bad image the error that it got. float32.
        """
        return self._embed(inputs, pool_factor)

    def embed_texts(self, inputs: Iterable[TextInput]) -> list[Result]:
        """Embed text queries and wait for them.

        Args:
            inputs: The queries.

        Returns:
            One entry a query, in order; for a bad query the error that it got. float32.
        """
        return self._embed(inputs, None)

    def heatmap(self, page: ImageInput, query: TextInput) -> Heatmap:
        """Embed a page and a query and tell where on the page each token finds its like.

        Args:
            page: The page; it is never pooled for this, whatever the settings say.
            query: The query.

        Returns:
            All vectors of the query; `Heatmap.own_text` has the user's only.

        Raises:
            InvalidPageError: The page is bad.
            InvalidQueryError: The query is bad.
            EncodingError: The model failed on one of them.
            OverloadedError: The queue is full.
        """
        results = [future.result() for future in self.submit([page, query], pool_factor=1)]
        for result in results:
            if isinstance(result, ColPaliError):
                raise result
        seen, asked = (result for result in results if isinstance(result, Encoded))
        return self.heatmapper(seen, asked, query)

    def _admitted(
        self, entry: Input, pool_factor: int | None, may_wait: bool
    ) -> list[Future[Result]]:
        try:
            return self.submit([entry], pool_factor)
        except OverloadedError:
            if may_wait:
                return []
            raise  # others fill the queue

    def _embed(self, inputs: Iterable[Input], pool_factor: int | None) -> list[Result]:
        source = iter(inputs)
        waiting: list[Future[Result]] = []
        results: list[Result] = []
        try:
            while True:
                for entry in islice(source, self._window - len(waiting)):
                    # Nobody is turned away here: what does not fit waits for what came before.
                    while not (queued := self._admitted(entry, pool_factor, bool(waiting))):
                        results.append(waiting.pop(0).result())
                    waiting += queued
                if not waiting:
                    return results
                results.append(waiting.pop(0).result())
        finally:
            for future in waiting:
                future.cancel()
            if waiting:
                self.forget_cancelled()
