"""A batch on the device gives each of its items what it would have got alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from colpali_serve.engine.device import Device
from colpali_serve.engine.forward import embed_batch, page_batch, query_batch, rows_of
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.settings import EncoderSettings
from tests.checkpoints import FAMILIES
from tests.engine.batches import device, in_one_batch, prepared
from tests.engine.inputs import page_inputs, text_inputs
from tests.engine.noting import Noted

Load = Callable[..., LoadedModel]
TEXTS = ["red", "what is the total revenue of the quick brown fox in 2023?"]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_those_of_each_item_alone(
    family: str, load: Load, images: list[Image.Image]
) -> None:
    loaded = load(family)
    pages = in_one_batch(loaded, page_inputs(images))
    queries = in_one_batch(loaded, text_inputs(TEXTS))
    alone = [page_batch(loaded, [image]) for image in images]
    alone += [query_batch(loaded, [text]) for text in TEXTS]
    for found, batch in zip(pages + queries, alone, strict=True):
        (expected,) = embed_batch(loaded, batch)
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_float16_is_float32_rounded(dtype: str, load: Load, images: list[Image.Image]) -> None:
    loaded, inputs = load("colqwen2", dtype), page_inputs(images)
    wide, narrow = in_one_batch(loaded, inputs), in_one_batch(loaded, inputs, "float16")
    for one, other in zip(wide, narrow, strict=True):
        assert other.dtype == np.float16
        np.testing.assert_array_equal(one.astype(np.float16), other)


def test_one_batch_gives_each_its_dtype(load: Load, images: list[Image.Image]) -> None:
    loaded, inputs = load("colqwen2"), page_inputs(images)
    dtypes = ["float16", "float32", "float16"]
    mixed = device(loaded).run(prepared(loaded, inputs), dtypes)
    assert [found.dtype.name for found in mixed] == dtypes
    for found, whole in zip(mixed, in_one_batch(loaded, inputs), strict=True):
        np.testing.assert_array_equal(found, whole.astype(found.dtype))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("masks", [False, True])
def test_the_short_way_through_colpali_changes_no_bit(
    masks: bool,
    dtype: str,
    load: Load,
    images: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = load("colpali", dtype)
    # A checkpoint that masks what is no image goes the long way.
    monkeypatch.setattr(loaded.model, "mask_non_image_embeddings", masks)
    for batch in (page_batch(loaded, images), query_batch(loaded, TEXTS)):
        with torch.inference_mode():
            expected = loaded.model(**batch)
        assert expected.dtype == loaded.dtype
        torch.testing.assert_close(rows_of(loaded, batch), expected, rtol=0, atol=0)


def test_a_batch_is_told_with_its_padding(load: Load, images: list[Image.Image]) -> None:
    noted, loaded = Noted(), load("colqwen2")
    running = device(loaded, noted)
    for inputs in (page_inputs(images), text_inputs(TEXTS)):
        items = prepared(loaded, inputs)
        lengths = [len(found) for found in running.run(items, ["float16"] * len(items))]
        kind = "page" if items[0].has_image else "query"
        padded = max(lengths) * len(lengths)
        assert noted.batches.pop() == (kind, len(items), sum(lengths), padded)
        assert padded > sum(lengths)


def test_what_is_measured_at_the_start_is_not_told(load: Load) -> None:
    noted = Noted()
    Device(load("colpali"), EncoderSettings(), 1, 1, noted)
    assert noted.batches == []


def test_running_out_of_memory_lowers_the_budget_below_what_failed(load: Load) -> None:
    running = Device(load("colpali"), EncoderSettings(batch_patches=1000), 1, 1, Noted())
    budgets = []
    for patches in (5000, 800, 800, 600, 1, 0):
        running.ran_out_of_memory(patches)
        budgets.append(running.budget)
    assert budgets == [1000, 400, 400, 300, 1, 1]


def test_a_thread_that_enters_has_its_own_number_of_threads(load: Load) -> None:
    found: list[Any] = []

    def enter(threads: int) -> None:
        Device(
            load("colpali"), EncoderSettings(batch_patches=1), 1, threads, Noted()
        ).enter_thread()
        found.append(torch.get_num_threads())

    for threads in (1, 2):
        thread = threading.Thread(target=enter, args=(threads,))
        thread.start()
        thread.join()
    assert found == [1, 2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("family", ["colpali", "colqwen2"])
def test_a_batch_that_was_sent_ahead_gives_the_same(
    family: str, start_from: Callable[..., Any], checkpoint: Callable[..., Any], images: list[Any]
) -> None:
    loaded = start_from(checkpoint(family), device="cuda").loaded
    running, items = device(loaded), prepared(loaded, page_inputs(images))
    assert running.stages
    dtypes = ["float32"] * len(items)
    for one, other in zip(
        running.run(items, dtypes, running.stage(items)), running.run(items, dtypes), strict=True
    ):
        np.testing.assert_array_equal(one, other)
