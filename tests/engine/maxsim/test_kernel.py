"""The kernel under the compiler's sanitizers, and what it says of jobs that it cannot do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.forms import Form, Rows
from colpali_serve.engine.maxsim.native import Instructions, Kernel, NativeBackend
from colpali_serve.schemas import EncodingError
from tests.engine.maxsim.compiling import EMULATION, SOURCES, compiled

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    try:
        compiled(folder / "probe", *SANITIZERS, str(probe))
    except AssertionError:
        pytest.skip("the C compiler here has no sanitizers")
    options = ["-O1", "-g", *SANITIZERS, "-DMAXSIM_EMULATED_TILES", f"-I{EMULATION}"]
    return compiled(folder / "fuzz", *options, str(EMULATION / "fuzz.c"))


@pytest.mark.parametrize("seed", range(4))
def test_random_jobs_stay_within_their_buffers(fuzz: Path, seed: int) -> None:
    done = subprocess.run(
        [str(fuzz), str(seed), "100"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    target = tmp_path_factory.mktemp("kernel") / "kernel.so"
    return Kernel(compiled(target, "-O2", "-shared", "-fPIC", str(SOURCES / "kernel.c")))


def test_it_says_no_to_what_it_cannot_do(kernel: Kernel) -> None:
    ones = [np.ones((1, 8), np.float32)]
    rows = [Rows(ones[0], Form.FLOAT32, 1, 8)]
    for instructions in Instructions:
        backend = NativeBackend(kernel, instructions)
        for arithmetic in set(Arithmetic) - backend.available:
            with pytest.raises(EncodingError, match="gave up"):
                backend.score(ones, backend.prepare(rows, arithmetic), arithmetic)
        # Floats have no step that int8 products could go by.
        with pytest.raises(EncodingError, match="gave up"):
            backend.score(ones, backend.prepare(rows, Arithmetic.INT8), Arithmetic.INT8)


def test_it_compiles_to_a_stub_on_other_processors(tmp_path: Path) -> None:
    options = ["-O2", "-shared", "-fPIC", "-DMAXSIM_STUB"]
    stub = Kernel(compiled(tmp_path / "stub.so", *options, str(SOURCES / "kernel.c")))
    assert not any(stub.arithmetics(each) for each in Instructions)
