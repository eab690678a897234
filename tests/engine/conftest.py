"""Models that tests share, and encoders that end with the test that started them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from colpali_serve.engine.encoder import Encoder
from colpali_serve.engine.loading import LoadedModel, load_model
from colpali_serve.engine.observing import Observer
from colpali_serve.engine.settings import EncoderSettings

ENOUGH_PATCHES = 10_000
"""A budget that is not measured, which takes time, and that no test's pages fill."""


@pytest.fixture(scope="session")
def load(checkpoint: Callable[[str], Path]) -> Callable[..., LoadedModel]:
    """A family's tiny model, loaded once. Who changes it uses `monkeypatch`."""
    models: dict[tuple[str, str], LoadedModel] = {}

    def get(family: str, dtype: str = "float32") -> LoadedModel:
        if (family, dtype) not in models:
            settings = EncoderSettings(model=str(checkpoint(family)), device="cpu", dtype=dtype)
            models[family, dtype] = load_model(settings)
        return models[family, dtype]

    return get


@pytest.fixture
def start(load: Callable[..., LoadedModel]) -> Iterator[Callable[..., Encoder]]:
    """Encoders of a family, with any settings, that are closed when the test ends."""
    with ExitStack() as stack:

        def get(
            family: str, dtype: str = "float32", observer: Observer | None = None, **more: object
        ) -> Encoder:
            settings = EncoderSettings(**{"batch_patches": ENOUGH_PATCHES, **more})
            return stack.enter_context(Encoder(load(family, dtype), settings, observer))

        yield get


@pytest.fixture
def start_from() -> Iterator[Callable[..., Encoder]]:
    """The same for a checkpoint's folder or name, loaded anew."""
    with ExitStack() as stack:

        def get(model: Path | str, **more: object) -> Encoder:
            settings = {"device": "cpu", "dtype": "float32", "batch_patches": ENOUGH_PATCHES}
            chosen = EncoderSettings(model=str(model), **{**settings, **more})
            return stack.enter_context(Encoder.load(chosen))

        yield get
