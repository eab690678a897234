"""Compile the kernel as the tests want it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = ROOT / "engine" / "maxsim" / "kernel"
EMULATION = ROOT / "tests" / "engine" / "maxsim" / "emulation"


def compiled(target: Path, *options: str) -> Path:
    """Run the compiler; skips the test where there is none."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here: the kernel cannot be built for the test")
    strict = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread"]
    command = [compiler, *strict, *options, "-o", str(target), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return target
