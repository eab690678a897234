"""The proof catches what loading alone would let pass; test_loading.py has broken files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.proof import check_report, prove
from colpali_serve.schemas import ModelLoadError

Load = Callable[..., LoadedModel]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_queries_that_depend_on_their_batch_are_caught(dtype: str, load: Load) -> None:
    loaded = load("colpali", dtype)
    without_fix = replace(loaded, family=replace(loaded.family, zero_query_types=False))
    with pytest.raises(ModelLoadError, match="between alone and in a batch"):
        prove(without_fix)


def test_rows_that_are_not_of_unit_norm_are_caught(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load("colqwen2")
    forward = loaded.model.forward
    monkeypatch.setattr(loaded.model, "forward", lambda **batch: forward(**batch) * 1.01)
    with pytest.raises(ModelLoadError, match=r"0\.01 away from unit norm"):
        prove(loaded)


@pytest.mark.parametrize("family", ["colpali", "colqwen2"])
def test_a_model_that_cannot_run_is_caught(
    family: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: torch.Tensor, **__: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    loaded = load(family)
    # ColPali's forward is passed by, for what is inside it.
    inner, name = loaded.model, "forward"
    if family == "colpali":
        inner, name = inner.model.model, "get_image_features"
    monkeypatch.setattr(inner, name, broken)
    with pytest.raises(ModelLoadError, match="probe page cannot be embedded: no kernel image"):
        prove(loaded)


def test_a_report_names_the_first_keys() -> None:
    report = {"missing_keys": {f"layer.{n}.weight" for n in range(9)}, "unexpected_keys": {"b"}}
    with pytest.raises(ModelLoadError) as caught:
        check_report(report, "model 'x'")
    assert "layer.0.weight, layer.1.weight" in caught.value.message
    assert "and 4 more; unexpected (they would be ignored): b" in caught.value.message


def test_a_clean_report_passes() -> None:
    check_report({"missing_keys": set(), "unexpected_keys": {"lm_head.weight"}}, "model 'x'")
