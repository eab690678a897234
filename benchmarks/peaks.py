"""What the machine could do at best: multiplications in registers, and bytes from memory."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.native import Instructions, load_kernel

_SOURCE = Path(__file__).with_name("peaks.c")
_KERNEL = _SOURCE.parent.parent / "engine" / "maxsim" / "kernel"
_TIMES = 2_000_000
_COPIED_BYTES = 512 * 1024**2


class Peaks:
    """Measures peaks again and again, since a shared machine's come and go; keeps the best."""

    def __init__(self) -> None:
        self.best: dict[str, float] = {}
        self._loops: dict[str, ctypes._NamedFuncPointer] = {}
        compiler, kernel = shutil.which("cc") or shutil.which("gcc"), load_kernel()
        if compiler is None or kernel is None:
            return
        with TemporaryDirectory() as folder:
            library = Path(folder) / "peaks.so"
            options = ["-O2", "-shared", "-fPIC", f"-I{_KERNEL}", "-o", str(library)]
            subprocess.run([compiler, *options, str(_SOURCE)], check=True)
            functions = ctypes.CDLL(str(library))
        for instructions in Instructions:
            for arithmetic in kernel.arithmetics(instructions):
                name = f"{instructions.name.lower()} {arithmetic.name.lower()}"
                if instructions is Instructions.AMX and arithmetic is Arithmetic.FLOAT32:
                    continue
                loop = getattr(functions, "peak_" + name.replace(" ", "_"))
                loop.argtypes, loop.restype = (ctypes.c_int64,), ctypes.c_int64
                self._loops[name] = loop

    def measure(self) -> None:
        """Take each loop's time, some 50 ms each."""
        for name, loop in self._loops.items():
            began = time.process_time()
            operations = loop(_TIMES) * _TIMES
            speed = operations / (time.process_time() - began) / 1e9
            self.best[name] = max(speed, self.best.get(name, 0.0))

    def share(self, name: str | None, speed: float) -> float | None:
        """Share of a peak that GF/s are; None where it was not measured."""
        return speed / self.best[name] if name in self.best else None


def read_bandwidth() -> float:
    """GB/s at which one core sums up memory that no cache holds, the best of five."""
    values = np.ones(_COPIED_BYTES // 8, np.float64)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        values.sum()
        best = max(best, values.nbytes / (time.perf_counter() - began) / 1e9)
    return best
