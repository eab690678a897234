"""Examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.conftest import ROOT

ROOMS = ("schemas", "engine", "executors", "gateway", "client", "training")
MODULES = sorted(
    ".".join(("colpali_serve", *path.relative_to(ROOT).with_suffix("").parts))
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py") and ".work" not in path.parts
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    if ".triton_" in name:
        pytest.importorskip("triton", reason="torch was built without Triton")
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.failed == 0
