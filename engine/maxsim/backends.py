"""What can compute scores here, and which of it does."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.forms import Rows
from colpali_serve.engine.maxsim.native import Instructions, NativeBackend, load_kernel
from colpali_serve.engine.maxsim.numpy_backend import NumpyBackend
from colpali_serve.schemas import ConfigError

Scores = NDArray[np.float32]

BackendName = Literal["auto", "amx", "avx512", "avx2", "triton", "torch", "numpy"]
"""How scores are computed.

"amx", "avx512" and "avx2" are the compiled kernel with the instructions of that name; "triton" is
kernels of our own for CUDA cards; "torch" and "numpy" are portable. "auto" takes the first of these
that this processor and installation have, and on a card "triton" or "torch", whichever is faster
there.
"""

BACKENDS: tuple[BackendName, ...] = get_args(BackendName)

_log = logging.getLogger("colpali_serve.engine.maxsim")
_said: set[str] = set()
_fastest: dict[str, str] = {}
"""By card, what was measured to be the fastest on it."""


class Backend(Protocol):
    """Computes scores.

    Attributes:
        name: One of `BACKENDS`.
        copies: Whether what it prepares holds the pages a second time.
        available: Arithmetics that it has; float32 is always among them.
    """

    name: str
    copies: bool
    available: frozenset[Arithmetic]

    def pack(self, rows: Rows, arithmetic: Arithmetic) -> Rows:
        """Return rows in the form that is the fastest to score, if that takes no more memory."""

    def prepare(self, pages: Sequence[Rows], arithmetic: Arithmetic) -> Any:
        """Return what `score` takes for these pages; it may be used many times."""

    def score(
        self, queries: Sequence[NDArray[np.float32]], prepared: Any, arithmetic: Arithmetic
    ) -> Scores:
        """Return float32 (n_queries, n_pages); at least one of each."""


def choose_backend(
    name: str = "auto", *, threads: int = 1, block_bytes: int = 64 * 1024**2, device: str = "cpu"
) -> Backend:
    """Return a backend that works here.

    Args:
        name: One of `BACKENDS`.
        threads: Of the compiled kernel. torch and numpy have settings of their own.
        block_bytes: Similarities that a portable backend holds at a time; the kernel holds none,
            triton the best one of each query vector with each page.
        device: For triton and torch. Where this is no CPU, "auto" measures both, once a process.

    Raises:
        ConfigError: There is no such backend, or it does not work here.

    >>> choose_backend("numpy").name
    'numpy'
    """
    makers: dict[str, Callable[[], Backend | None]] = {
        "amx": lambda: _native(Instructions.AMX, threads),
        "avx512": lambda: _native(Instructions.AVX512, threads),
        "avx2": lambda: _native(Instructions.AVX2, threads),
        "triton": lambda: _triton(block_bytes, device),
        "torch": lambda: _torch(block_bytes, device),
        "numpy": lambda: NumpyBackend(block_bytes),
    }
    if name != "auto":
        if name not in makers:
            expected = ", ".join(BACKENDS)
            raise ConfigError(f"MaxSim backend is {name!r}, expected one of {expected}", "backend")
        found = makers[name]()
        if found is None:
            usable = [each for each, make in makers.items() if _works(make)]
            raise ConfigError(
                f"MaxSim backend {name!r} does not work on this machine, expected one of "
                f"{', '.join(usable)}",
                "backend",
            )
        return found
    if device != "cpu" and (found := _on_card(block_bytes, device)) is not None:
        return found
    del makers["triton"]  # without a card there is nothing to try
    for each, make in makers.items():
        if (found := make()) is not None:
            _say(each)
            return found
    raise AssertionError("numpy is always there")


def _works(make: Callable[[], Backend | None]) -> bool:
    try:
        return make() is not None
    except ConfigError:
        return False


def _native(instructions: Instructions, threads: int) -> Backend | None:
    kernel = load_kernel()
    if kernel is None or not kernel.arithmetics(instructions):
        return None
    return NativeBackend(kernel, instructions, threads)


def _on_card(block_bytes: int, device: str) -> Backend | None:
    """Return the faster one of torch and triton; None where there is no torch."""
    plain = _torch(block_bytes, device)
    if plain is None or _fastest.get(device) == plain.name:
        return plain
    try:
        ours = _made_triton(block_bytes, device)
    except ConfigError as error:
        _log.warning("%s", error)
        ours = None
    if ours is not None and device not in _fastest:
        from colpali_serve.engine.maxsim.choosing import faster

        _fastest[device] = faster(plain, ours, device).name
    return ours if ours is not None and _fastest[device] == ours.name else plain


def _triton(block_bytes: int, device: str) -> Backend | None:
    """As `_made_triton`, and it has scored something."""
    found = _made_triton(block_bytes, device)
    if found is not None:
        from colpali_serve.engine.maxsim.choosing import prove

        prove(found, device)
    return found


def _made_triton(block_bytes: int, device: str) -> Backend | None:
    # It comes with torch's CUDA builds for Linux, and with no other.
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("triton") is None:
        return None
    try:
        from colpali_serve.engine.maxsim.triton_backend import TritonBackend
    except Exception as error:
        raise ConfigError(
            f"MaxSim backend 'triton' cannot be loaded ({type(error).__name__}: {error}), "
            "expected the Triton that came with torch",
            "backend",
        ) from error
    return TritonBackend(block_bytes, device)


def _torch(block_bytes: int, device: str) -> Backend | None:
    if importlib.util.find_spec("torch") is None:
        return None
    # Not above: it takes seconds, and where the kernel works nobody needs it.
    from colpali_serve.engine.maxsim.torch_backend import TorchBackend

    return TorchBackend(block_bytes, device)


def _say(name: str) -> None:
    """Say once what "auto" came to."""
    if name not in _said:
        _said.add(name)
        slow = name in ("torch", "numpy")
        tail = ": the compiled kernel is missing or needs AVX2, scores take longer" if slow else ""
        _log.log(logging.WARNING if slow else logging.INFO, "MaxSim runs on %s%s", name, tail)
