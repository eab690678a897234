"""The patch budget is what the machine is measured to be good for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from colpali_serve.engine import budget
from colpali_serve.engine.device import Device
from colpali_serve.engine.forward import page_batch
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.observing import Observer
from colpali_serve.engine.preparing import Prepared
from colpali_serve.engine.settings import EncoderSettings

Load = Callable[..., LoadedModel]
A4 = (1240, 1754)


def page_length(loaded: LoadedModel) -> int:
    return int(page_batch(loaded, [Image.new("RGB", A4)])["input_ids"].shape[1])


@pytest.mark.parametrize("family", ["colpali", "colqwen2", "colidefics3"])
def test_a_budget_is_some_whole_pages(family: str, load: Load) -> None:
    loaded = load(family)
    measured = Device(loaded, EncoderSettings(), 1, 1, Observer()).budget
    pages, rest = divmod(measured, page_length(loaded))
    assert rest == 0
    assert 1 <= pages <= 64
    assert pages.bit_count() == 1


def test_a_budget_that_is_set_is_not_measured(load: Load) -> None:
    assert Device(load("colpali"), EncoderSettings(batch_patches=77), 1, 1, Observer()).budget == 77


@pytest.mark.parametrize("fixed_s", [0, 0.0007, 0.011, 0.13, 0.24, 9])
@pytest.mark.parametrize("page_s", [0.00001, 0.001, 0.01, 0.1, 1])
def test_a_batch_grows_as_long_as_that_pays(
    fixed_s: float, page_s: float, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device of which it is known what a forward costs, and what each page in it."""
    loaded, now = load("colpali"), [0.0]
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def run(items: Sequence[Prepared], dtypes: Sequence[str]) -> None:
        assert len(items) == len(dtypes)
        now[0] += fixed_s + page_s * len(items)

    def pays(pages: int) -> bool:
        """Half as many pages at a time would take so much longer."""
        seconds = fixed_s / pages + page_s
        return seconds < budget._WORTH_IT * (2 * fixed_s / pages + page_s) * (1 + 1e-9)

    pages, rest = divmod(budget.measured_budget(run, loaded), page_length(loaded))
    assert rest == 0
    assert pages == 1 or pays(pages)
    assert pages == 1 or fixed_s + page_s * pages <= budget._LONGEST_S
    # And no further: the next step would not pay, might take too long, or is one too many.
    too_long = 2 * (fixed_s + page_s * pages) > budget._LONGEST_S
    assert pages == budget._MOST_PAGES or too_long or not pays(2 * pages)


@pytest.mark.parametrize(("fixed_s", "pages"), [(0, 1), (0.01, 64)])
def test_a_gain_that_is_clear_is_taken(
    fixed_s: float, pages: int, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, now = load("colpali"), [0.0]
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def run(items: Sequence[Prepared], dtypes: Sequence[str]) -> None:
        now[0] += fixed_s + 0.00001 * len(items)

    assert budget.measured_budget(run, loaded) == pages * page_length(loaded)


def test_a_batch_grows_no_further_than_the_memory(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, now = load("colpali"), [0.0]
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def run(items: Sequence[Prepared], dtypes: Sequence[str]) -> None:
        now[0] += 0.001
        if len(items) > 4:
            raise torch.OutOfMemoryError

    assert budget.measured_budget(run, loaded) == 4 * page_length(loaded)


def test_a_device_that_cannot_hold_a_page_says_so(load: Load) -> None:
    def run(items: Sequence[Prepared], dtypes: Sequence[str]) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        budget.measured_budget(run, load("colpali"))
