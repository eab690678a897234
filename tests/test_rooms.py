"""The layout is the architecture: who may import whom."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Room -> (rooms of ours that it may import, foreign packages that it must not import).
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "schemas": (set(), {"torch", "jina", "transformers", "colpali_engine"}),
    "engine": ({"schemas", "checkpoints"}, {"jina", "docarray"}),
    "executors": ({"schemas", "engine"}, {"transformers", "colpali_engine"}),
    # HTTP's uploads are rendered as the client renders its files.
    "gateway": ({"schemas", "client"}, {"torch", "transformers", "colpali_engine"}),
    "client": ({"schemas"}, {"torch", "transformers", "colpali_engine"}),
    # Its evaluation renders PDFs as the client does and ranks as the service does.
    "training": ({"schemas", "engine", "client", "checkpoints"}, {"jina", "docarray"}),
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room: str) -> None:
    ours, foreign = ROOMS[room]
    wrong = []
    for path in (ROOT / room).rglob("*.py"):
        if ".work" in path.parts:  # packages that training fetched
            continue
        for name in imported(path):
            parts = name.split(".")
            other = parts[1] if parts[0] == "colpali_serve" and len(parts) > 1 else None
            if parts[0] in foreign or (other and other != room and other not in ours):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            if parts[0] in ROOMS:
                wrong.append(f"{path.relative_to(ROOT)} imports {name} without colpali_serve")
    assert not wrong


def test_every_package_is_listed_for_installation() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        str(path.parent.relative_to(ROOT))
        for room in (*ROOMS, "flows", "checkpoints")
        for path in (ROOT / room).rglob("__init__.py")
        if ".work" not in path.parts
    }
    assert dict(setuptools["package-dir"].items()) == {
        f"colpali_serve.{folder.replace('/', '.')}": folder for folder in folders
    }
    assert sorted(setuptools["packages"]) == sorted(setuptools["package-dir"])
