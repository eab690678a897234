"""The choice on a card: whoever is right and the faster, and nothing that fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.choosing import faster, made_trial, prove
from colpali_serve.engine.maxsim.torch_backend import TorchBackend
from colpali_serve.schemas import ConfigError


class Other(TorchBackend):
    """Scores with torch, and lets something happen to the scores."""

    name = "other"

    def __init__(self, happens: Callable[[np.ndarray], Any] = lambda scores: scores) -> None:
        super().__init__(1 << 20)
        self.available = frozenset({Arithmetic.FLOAT32})
        self._happens = happens

    def score(self, *args: Any) -> np.ndarray:
        return self._happens(super().score(*args))


def slow(scores: np.ndarray) -> np.ndarray:
    time.sleep(0.1)
    return scores


def broken(scores: np.ndarray) -> np.ndarray:
    raise RuntimeError("Failed to find C compiler.\nPlease specify one")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "colpali_serve.engine.maxsim")
    return caplog


def test_the_faster_one_is_taken_and_it_is_said(log: pytest.LogCaptureFixture) -> None:
    quick, sluggish = Other(), Other(slow)
    assert faster(sluggish, quick, "cpu") is quick
    assert faster(quick, sluggish, "cpu") is quick
    assert [record.levelname for record in log.records] == ["INFO", "INFO"]
    assert "for a query of 25 vectors and 6 pages; takes other" in log.text


@pytest.mark.parametrize(
    "happens",
    [
        lambda scores: scores + 0.01,
        lambda scores: np.maximum(scores, 0),  # as if zeros stood beside the pages' rows
        lambda scores: np.full_like(scores, np.nan),
        lambda scores: scores[:, ::-1],
    ],
)
def test_wrong_scores_are_refused(
    happens: Callable[[np.ndarray], np.ndarray], log: pytest.LogCaptureFixture
) -> None:
    plain = TorchBackend(1 << 20)
    plain.score = lambda *args: slow(TorchBackend.score(plain, *args))  # type: ignore[method-assign]
    assert faster(plain, Other(happens), "cpu") is plain
    assert [record.levelname for record in log.records] == ["WARNING"]
    assert "scores of other are" in log.text
    assert "off, expected at most 0.0063; takes torch" in log.text


def test_whatever_fails_does_not_fail_the_start(log: pytest.LogCaptureFixture) -> None:
    plain = TorchBackend(1 << 20)
    assert faster(plain, Other(broken), "cpu") is plain
    expected = "other could not be tried (RuntimeError: Failed to find C compiler.); takes torch"
    assert expected in log.text
    assert [record.levelname for record in log.records] == ["WARNING"]


def test_who_was_asked_for_is_proved() -> None:
    prove(Other(), "cpu")
    with pytest.raises(ConfigError, match=r"'other' does not work on 'cpu' \(RuntimeError: Failed"):
        prove(Other(broken), "cpu")


def test_the_trial_is_ragged_of_unit_length_and_half_of_it_is_negative() -> None:
    trial = made_trial(torch.device("cpu"))
    assert len({rows.n_vectors for rows in trial.pages}) > 3
    query = torch.from_numpy(trial.queries[0])
    for index, rows in enumerate(trial.pages):
        torch.testing.assert_close(
            rows.values.float().norm(dim=1), torch.ones(rows.n_vectors), rtol=1e-3, atol=0
        )
        assert ((query @ rows.values.float().T) < 0).all() == bool(index % 2)
