"""Which backend scores on a card: kernels of our own only where they are right and the faster."""

from __future__ import annotations

import logging
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from colpali_serve.engine.maxsim.arithmetic import Arithmetic, choose_arithmetic
from colpali_serve.engine.maxsim.forms import Form, Rows
from colpali_serve.schemas import ConfigError

if TYPE_CHECKING:
    from colpali_serve.engine.maxsim.backends import Backend

_log = logging.getLogger("colpali_serve.engine.maxsim")

_DIM = 128
_VECTORS = 25
_LONGEST = 1030
_CARD_PAGES = 600
"""About 80 MB: not all of it stays in a card's cache from one run to the next."""
_OTHER_PAGES, _OTHER_LONGEST = 6, 100
_RUNS = 5
_ALLOWED = 0.005 / 20
"""Error for each query vector of length 1: what `Precision` says of bfloat16."""


class Trial(NamedTuple):
    """What is scored for a choice.

    Attributes:
        pages: float16, random unit vectors; on every other page all similarities are negative,
            which zeros in the place of missing rows would show.
        queries: One of 25 vectors.
    """

    pages: list[Rows]
    queries: list[NDArray[np.float32]]


def made_trial(device: torch.device, most: int = _CARD_PAGES) -> Trial:
    """Make ragged pages on a device, the same each time.

    Args:
        device: Where; few and short ones where it is no card.
        most: How many at most.
    """
    card = device.type == "cuda"
    count, longest = (_CARD_PAGES, _LONGEST) if card else (_OTHER_PAGES, _OTHER_LONGEST)
    lengths = np.random.default_rng(0).integers(1, longest + 1, min(count, most))
    generator = torch.Generator(device).manual_seed(0)

    def unit(n_vectors: int) -> torch.Tensor:
        rows = torch.randn(n_vectors, _DIM, generator=generator, device=device)
        return torch.nn.functional.normalize(rows, dim=1)

    pages = []
    for index, length in enumerate(lengths.tolist()):
        rows = unit(length)
        values = (-rows.abs() if index % 2 else rows).half()
        pages.append(Rows(values, Form.FLOAT16, length, _DIM))
    return Trial(pages, [unit(_VECTORS).abs().cpu().numpy()])


def prove(backend: Backend, device: str) -> None:
    """Let a backend score once, so that what is missing shows at the start.

    Args:
        backend: Takes tensors.
        device: Where.

    Raises:
        ConfigError: It cannot, for example because there is no C compiler for Triton.
    """
    try:
        _score(backend, made_trial(torch.device(device), most=2), _arithmetic(backend))
    except Exception as error:
        raise ConfigError(
            f"MaxSim backend {backend.name!r} does not work on {device!r} "
            f"({_shortened(error)}), expected it to score two pages",
            "backend",
        ) from error


def faster(plain: Backend, other: Backend, device: str) -> Backend:
    """Return the faster one of two backends on a device, measured there and then.

    Args:
        plain: Is right, and is taken if the other one fails.
        other: Is taken if its scores are right and its median time is the shorter.
        device: Where both score; "cuda", "cuda:<index>", or "cpu".
    """
    try:
        trial = made_trial(torch.device(device))
        expected = _score(plain, trial, Arithmetic.FLOAT32)
        error = float(np.abs(_score(other, trial, _arithmetic(other)) - expected).max())
        if not error <= _ALLOWED * _VECTORS:  # nor is NaN
            _log.warning(
                "MaxSim on %s: scores of %s are %.2g off, expected at most %.2g; takes %s",
                device, other.name, error, _ALLOWED * _VECTORS, plain.name,
            )  # fmt: skip
            return plain
        seconds = _medians([plain, other], trial, device)
    except Exception as failure:  # noqa: BLE001  (whatever it is, the service starts without)
        _log.warning(
            "MaxSim on %s: %s could not be tried (%s); takes %s",
            device, other.name, _shortened(failure), plain.name,
        )  # fmt: skip
        return plain
    chosen = other if seconds[1] < seconds[0] else plain
    _log.info(
        "MaxSim on %s: %s %.2f ms, %s %.2f ms for a query of %d vectors and %d pages; takes %s",
        device, other.name, 1000 * seconds[1], plain.name, 1000 * seconds[0], _VECTORS,
        len(trial.pages), chosen.name,
    )  # fmt: skip
    return chosen


def _arithmetic(backend: Backend) -> Arithmetic:
    return choose_arithmetic(Form.FLOAT16, _DIM, "auto", backend.available)


def _score(backend: Backend, trial: Trial, arithmetic: Arithmetic) -> NDArray[np.float32]:
    return backend.score(trial.queries, backend.prepare(trial.pages, arithmetic), arithmetic)


def _medians(backends: list[Backend], trial: Trial, device: str) -> list[float]:
    """Seconds of a run of each, pages being prepared."""
    prepared = [each.prepare(trial.pages, _arithmetic(each)) for each in backends]
    seconds: list[list[float]] = [[] for _ in backends]
    for run in range(_RUNS + 1):
        for index, each in enumerate(backends):
            _finish(device)
            began = time.perf_counter()
            each.score(trial.queries, prepared[index], _arithmetic(each))
            _finish(device)
            if run:  # the first one warms up
                seconds[index].append(time.perf_counter() - began)
    return [statistics.median(each) for each in seconds]


def _finish(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _shortened(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]
