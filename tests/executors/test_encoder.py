"""ColPaliEncoder as an Executor: how it is configured, and how it refuses to start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from docarray import DocList
from jina import Executor

from colpali_serve.executors.encoder import ColPaliEncoder
from colpali_serve.schemas import (
    EMBED_IMAGES,
    EMBED_QUERIES,
    SCORE,
    ConfigError,
    ModelLoadError,
    QueryDoc,
)
from tests.conftest import ROOT


def test_loads_from_config_with_the_bundled_checkpoint() -> None:
    encoder = Executor.load_config(str(ROOT / "config.yml"))
    assert isinstance(encoder, ColPaliEncoder)
    assert encoder.metas.name == "ColPaliEncoder"
    assert {EMBED_IMAGES, EMBED_QUERIES, SCORE} <= set(encoder.requests)
    found = encoder.embed_queries(DocList[QueryDoc]([QueryDoc(text="red")]), parameters={})
    assert found[0].embedding.shape[1] == 128


def test_settings_come_from_yaml_over_the_environment(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLPALI_MODEL", "./nothing")
    monkeypatch.setenv("COLPALI_POOL_FACTOR", "3")
    encoder = ColPaliEncoder(model=str(checkpoint("colqwen2")), device="cpu")
    assert encoder._encoder.settings.pool_factor == 3


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"modell": "x"}, ConfigError, "setting 'modell' is unknown"),
        ({"model": "./nothing"}, ModelLoadError, "no such folder"),
        ({"batch_size": 0}, ConfigError, "setting 'batch_size' is 0"),
    ],
)
def test_refuses_to_start_in_words(
    settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ColPaliEncoder(**settings)
