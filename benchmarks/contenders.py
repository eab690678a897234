"""The bare loop and the engine, each in a process of its own that waits for its turn."""

from __future__ import annotations

import io
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch
from PIL import Image

from benchmarks.measuring import Taken
from benchmarks.roof import forward_flops, matmul_flops_a_second
from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput
from colpali_serve.engine.forward import embed_batch, page_batch
from colpali_serve.engine.images import decode_image
from colpali_serve.engine.loading import LoadedModel, load_model
from colpali_serve.engine.machine import usable_cores
from colpali_serve.engine.settings import EncoderSettings

_PROBED = 4
"""Pages by which a batch size is judged, at least."""
_BATCH_SIZES = (1, 2, 4, 8, 16, 32)


class Contender:
    """A process that runs its work when it is told to; stop it when done.

    Args:
        work: Builds what is measured, in the new process: a dict of facts, and a function that
            takes pages and returns each one's seconds, or nothing.
        args: For `work`.
    """

    def __init__(self, work: Callable[..., Any], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work, *args), daemon=True)
        self._process.start()
        self.facts: dict[str, Any] = self._answer()

    def run(self, pages: Sequence[bytes]) -> Taken:
        """Embed pages and say what it took."""
        self._ours.send(list(pages))
        found: Taken = self._answer()
        return found

    def _answer(self) -> Any:
        answer = self._ours.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def stop(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._ours.send(None)
        self._process.join(30)
        self._process.kill()


def _serve(pipe: Connection, work: Callable[..., Any], *args: Any) -> None:
    try:
        facts, run = work(*args)
        pipe.send(facts)
        while (pages := pipe.recv()) is not None:
            began, cpu = time.perf_counter(), time.process_time()
            page_s = run(pages) or ()
            seconds, used = time.perf_counter() - began, time.process_time() - cpu
            pipe.send(Taken(len(pages), seconds, used, tuple(page_s)))
    except Exception as error:  # noqa: BLE001  (the other process says what it was)
        pipe.send(f"{type(error).__name__}: {error}")


def bare_loop(settings: EncoderSettings, probe: Sequence[bytes]) -> Any:
    """colpali-engine as its documentation uses it, with the batch size that is fastest on `probe`.

    Decode, process, forward, one batch after the other, all cores for each step.
    """
    loaded = load_model(settings)
    # Its own, not the one of which `engine.pixels` has made a faster one.
    processor = type(loaded.processor).from_pretrained(str(loaded.checkpoint.folder))
    if loaded.device.type == "cpu":
        torch.set_num_threads(usable_cores())

    def run(pages: Sequence[bytes], size: int) -> None:
        for start in range(0, len(pages), size):
            images = [Image.open(io.BytesIO(p)).convert("RGB") for p in pages[start : start + size]]
            batch = processor.process_images(images).to(loaded.device)
            batch.pop("labels", None)  # else a loss is computed, which needs a vocabulary head
            with torch.no_grad():
                for embedding in loaded.model(**batch).cpu():
                    embedding.float()

    run(probe[:1], 1)
    speeds: dict[int, float] = {}
    for size in (size for size in _BATCH_SIZES if size <= len(probe)):
        count = size * math.ceil(_PROBED / size)
        pages = [probe[number % len(probe)] for number in range(count)]
        try:
            speeds[size] = max(_pages_a_second(partial(run, pages, size), count) for _ in range(2))
        except torch.OutOfMemoryError:
            break
        if speeds[size] < 0.8 * max(speeds.values()):
            break
    best = max(speeds, key=lambda size: speeds[size])
    return {"batch_size": best, **_facts(loaded, probe)}, lambda pages: run(pages, best)


def _pages_a_second(work: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def in_process(settings: EncoderSettings) -> Any:
    """This project's engine, without a service around it."""
    encoder = Encoder.load(settings)

    def run(pages: Sequence[bytes]) -> None:
        inputs = (ImageInput(str(number), page) for number, page in enumerate(pages))
        for result in encoder.embed_images(inputs):
            assert isinstance(result, Encoded), result

    return {}, run


def own_steps(settings: EncoderSettings) -> Any:
    """What a lone page costs whoever serves it: this project's steps, one after the other."""
    loaded = load_model(settings)

    def embed(page: bytes) -> float:
        began = time.perf_counter()
        image = decode_image(page, "page", "page", settings)
        embed_batch(loaded, page_batch(loaded, [image]))
        return time.perf_counter() - began

    return {}, lambda pages: [embed(page) for page in pages]


def _facts(loaded: LoadedModel, probe: Sequence[bytes]) -> dict[str, Any]:
    image = Image.open(io.BytesIO(probe[0])).convert("RGB")
    return {
        "device": str(loaded.device),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "page_flops": forward_flops(loaded, image),
        "matmul_flops_s": matmul_flops_a_second(loaded.device, loaded.dtype),
    }
