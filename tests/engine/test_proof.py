"""The proof catches what loading alone would let pass; test_loading.py has broken files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from colpali_serve.engine.loading import LoadedModel, load_model
from colpali_serve.engine.proof import check_report, prove
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ModelLoadError


@pytest.fixture
def colpali(checkpoint: Callable[[str], Path]) -> LoadedModel:
    return load_model(
        EncoderSettings(model=str(checkpoint("colpali")), device="cpu", dtype="float32")
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_queries_that_depend_on_their_batch_are_caught(
    dtype: str, checkpoint: Callable[[str], Path]
) -> None:
    settings = EncoderSettings(model=str(checkpoint("colpali")), device="cpu", dtype=dtype)
    loaded = load_model(settings)
    without_fix = replace(loaded, family=replace(loaded.family, zero_query_types=False))
    with pytest.raises(ModelLoadError, match="between alone and in a batch"):
        prove(without_fix)


def test_rows_that_are_not_of_unit_norm_are_caught(colpali: LoadedModel) -> None:
    forward = colpali.model.forward
    colpali.model.forward = lambda **batch: forward(**batch) * 1.01
    with pytest.raises(ModelLoadError, match=r"0\.01 away from unit norm"):
        prove(colpali)


def test_a_model_that_cannot_run_is_caught(colpali: LoadedModel) -> None:
    def broken(**batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    colpali.model.forward = broken
    with pytest.raises(ModelLoadError, match="probe page cannot be embedded: no kernel image"):
        prove(colpali)


def test_a_report_names_the_first_keys() -> None:
    report = {"missing_keys": {f"layer.{n}.weight" for n in range(9)}, "unexpected_keys": {"b"}}
    with pytest.raises(ModelLoadError) as caught:
        check_report(report, "model 'x'")
    assert "layer.0.weight, layer.1.weight" in caught.value.message
    assert "and 4 more; unexpected (they would be ignored): b" in caught.value.message


def test_a_clean_report_passes() -> None:
    check_report({"missing_keys": set(), "unexpected_keys": {"lm_head.weight"}}, "model 'x'")
