"""Who is measured: our backends, and every peer that is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from benchmarks.maxsim_shapes import Array
from colpali_serve.engine.maxsim import PageStore, Scorer
from colpali_serve.engine.maxsim.native import Instructions, load_kernel
from colpali_serve.schemas import compress

Score = Callable[[list[Array]], Array]
_ROOM = 1 << 40
_LIK_PAGES = 64


@dataclass(frozen=True)
class Contender:
    """Somebody who scores.

    Attributes:
        name: In the tables.
        prepare: Takes the pages once, outside the clock, and returns what scores queries.
        peak: Name of the peak that bounds it.
    """

    name: str
    prepare: Callable[[list[Array]], Score]
    peak: str | None = None


def contenders() -> list[Contender]:
    """All of them, the one that the others are compared with first."""
    found = [
        Contender("colpali-engine float32", lambda pages: _colpali(pages, torch.float32)),
        Contender("colpali-engine bfloat16", lambda pages: _colpali(pages, torch.bfloat16)),
        Contender("late-interaction-kernels", _late_interaction),
        Contender("maxsim-cpu", _maxsim_cpu),
        Contender("numkong bf16", _numkong),
        Contender("numpy float32", ours("numpy", "float32", "float32")),
        Contender("torch float32", ours("torch", "float32", "float32")),
        Contender("torch bfloat16", ours("torch", "bfloat16", "float16")),
    ]
    kernel = load_kernel()
    for instructions in Instructions if kernel else ():
        assert kernel is not None
        backend = instructions.name.lower()
        available = {each.name.lower() for each in kernel.arithmetics(instructions)}
        for precision, dtype, computed in (
            ("float32", "float32", "float32"),
            ("bfloat16", "float16", "bfloat16"),
            ("auto", "int8", "int8"),
            ("auto", "binary", "int8"),
        ):
            if computed not in available or (backend == "amx" and computed == "float32"):
                continue
            name = f"{backend} {dtype if precision == 'auto' else precision}"
            found.append(Contender(name, ours(backend, precision, dtype), f"{backend} {computed}"))
    return found


def versions() -> dict[str, str]:
    """Of everybody who is installed."""
    found = {}
    for name in ("torch", "numpy", "colpali-engine", "late-interaction-kernels", "maxsim-cpu",
                 "numkong", "triton", "flash-maxsim"):  # fmt: skip
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def ours(
    backend: str, precision: str, dtype: Any, device: str = "cpu"
) -> Callable[[list[Array]], Score]:
    """One of our backends with resident pages.

    Args:
        backend: Which.
        precision: Of the scores.
        dtype: Of the pages.
        device: For triton and torch.
    """

    def prepare(pages: list[Array]) -> Score:
        scorer = Scorer(backend, precision, device=device)  # type: ignore[arg-type]
        store = PageStore(scorer, _ROOM)
        store.put([str(i) for i in range(len(pages))], [compress(page, dtype) for page in pages])
        return lambda queries: store.score(queries).scores

    return prepare


def _colpali(pages: list[Array], dtype: torch.dtype) -> Score:
    from colpali_engine.utils.processing_utils import BaseVisualRetrieverProcessor

    score = BaseVisualRetrieverProcessor.score_multi_vector
    tensors = [torch.from_numpy(page).to(dtype) for page in pages]

    def run(queries: list[Array]) -> Array:
        wanted = [torch.from_numpy(query).to(dtype) for query in queries]
        return np.asarray(score(wanted, tensors, device="cpu").numpy())

    return run


def _late_interaction(pages: list[Array]) -> Score:
    from late_interaction_kernels import maxsim_padded

    tensors = [torch.from_numpy(page) for page in pages]

    def run(queries: list[Array]) -> Array:
        rows = torch.from_numpy(np.stack(queries))
        own = torch.tensor([len(query) for query in queries])
        parts = []
        for start in range(0, len(tensors), _LIK_PAGES):
            part = tensors[start : start + _LIK_PAGES]
            padded = torch.nn.utils.rnn.pad_sequence(part, batch_first=True)
            lengths = torch.tensor([len(page) for page in part]).expand(len(rows), -1)
            with torch.no_grad():
                everybody = padded.expand(len(rows), *padded.shape)
                parts.append(maxsim_padded(rows, everybody, own, lengths))
        return np.asarray(torch.cat(parts, dim=1).numpy())

    return run


def _maxsim_cpu(pages: list[Array]) -> Score:
    import maxsim_cpu

    if len({len(page) for page in pages}) == 1:
        stacked = np.stack(pages)
        return lambda queries: np.stack([maxsim_cpu.maxsim_scores(q, stacked) for q in queries])
    return lambda queries: np.stack(
        [np.asarray(maxsim_cpu.maxsim_scores_variable(q, pages)) for q in queries]
    )


def _numkong(pages: list[Array]) -> Score:
    import numkong

    def pack(rows: Array) -> Any:
        return numkong.maxsim_pack(numkong.Tensor(rows).astype("bf16"), dtype="bf16")

    packed = [pack(page) for page in pages]

    def run(queries: list[Array]) -> Array:
        scores = np.empty((len(queries), len(pages)), np.float32)
        for row, query in zip(scores, queries, strict=True):
            wanted = pack(query)
            # It sums angular distances of unit vectors.
            row[:] = [len(query) - numkong.maxsim_packed(wanted, page) for page in packed]
        return scores

    return run
