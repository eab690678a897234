"""Items in one batch for certain: what an encoder puts together depends on what is ready."""

from __future__ import annotations

from collections.abc import Sequence

from colpali_serve.engine.device import Device
from colpali_serve.engine.items import Input
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.observing import Observer
from colpali_serve.engine.preparing import Prepared, Preparer
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import Embedding

SETTINGS = EncoderSettings(batch_patches=1)


def prepared(loaded: LoadedModel, entries: Sequence[Input]) -> list[Prepared]:
    prepare = Preparer(loaded, SETTINGS, Observer())
    return [prepare(entry) for entry in entries]


def device(loaded: LoadedModel, observer: Observer | None = None) -> Device:
    return Device(loaded, SETTINGS, 1, 1, observer or Observer())


def in_one_batch(
    loaded: LoadedModel, entries: Sequence[Input], dtype: str = "float32"
) -> list[Embedding]:
    return device(loaded).run(prepared(loaded, entries), [dtype] * len(entries))
