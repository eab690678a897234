"""The text around a query."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from colpali_serve.engine.families import FAMILIES
from colpali_serve.engine.forward import query_batch
from colpali_serve.engine.loading import load_model
from colpali_serve.engine.query_forms import QueryForm, query_form
from colpali_serve.engine.settings import EncoderSettings


def test_known_checkpoints_bring_their_own() -> None:
    assert query_form(EncoderSettings(), "vidore/colqwen2-v1.0") == QueryForm("Query: ")
    assert query_form(EncoderSettings(), None) == QueryForm()


def test_settings_win_over_what_is_known() -> None:
    settings = EncoderSettings(query_prefix="", query_newline=True)
    form = query_form(settings, "vidore/colpali-v1.3")
    assert form == QueryForm("", None, newline=True)


def test_the_whole_text() -> None:
    assert QueryForm("Q: ", newline=True).apply("red", "<p>") == "Q: red" + "<p>" * 10 + "\n"
    assert QueryForm(suffix="!").apply("red", "<p>") == "red!"


def test_the_default_is_what_colpali_engine_does(checkpoint: Callable[[str], Path]) -> None:
    for name in ("colpali", "colqwen2", "colgemma3"):
        loaded = load_model(EncoderSettings(model=str(checkpoint(name)), device="cpu"))
        ours = query_batch(loaded, ["what is it?"])["input_ids"].numpy()
        theirs = loaded.processor.process_queries(queries=["what is it?"])["input_ids"].numpy()
        np.testing.assert_array_equal(ours, theirs)


def test_gemma_alone_has_no_augmentation() -> None:
    assert [family.name for family in FAMILIES if not family.augments_queries] == ["ColGemma3"]
