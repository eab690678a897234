"""A client waits for neither torch nor jina before it needs them."""

from __future__ import annotations

import subprocess
import sys

from tests.client.conftest import CLI

HEAVY = {"torch", "jina", "docarray", "grpc", "transformers", "pypdfium2", "numpy"}


def loaded_after(code: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split())


def test_importing_the_package() -> None:
    assert not HEAVY & loaded_after("import colpali_serve.client")


def test_help_of_every_command() -> None:
    commands = ["", "serve", "demo", "embed", "rank", "profile"]
    arguments = [[name, "--help"] if name else ["--help"] for name in commands]
    code = "from colpali_serve.client.cli import app\n" + "\n".join(
        f"app({each}, standalone_mode=False)" for each in arguments
    )
    assert not HEAVY & loaded_after(code)


def test_commands_that_use_a_service_spare_torch() -> None:
    code = """
import sys
from colpali_serve.client.cli import app
try:
    app(["rank", "a.png", "--query", "x", "--port", "1"], standalone_mode=False)
except SystemExit: pass
assert "jina" in sys.modules and sys.modules["torch"] is None
"""
    assert "colpali_serve.client.connection" in loaded_after(code)


def test_jina_leaves_ctrl_c_and_warnings_alone() -> None:
    code = """
import signal, sys, warnings
sys.modules["torch"] = None  # which docarray would load, for seconds
def mine(number, frame): ...
signal.signal(signal.SIGINT, mine)
before = warnings.formatwarning, list(warnings.filters)
from colpali_serve.client.jina_import import import_jina
import_jina()
assert signal.getsignal(signal.SIGINT) is mine
assert (warnings.formatwarning, list(warnings.filters)) == before
"""
    assert "jina" in loaded_after(code)


def test_public_names() -> None:
    code = """
import sys
sys.modules["torch"] = None
import colpali_serve.client as client
for name in client.__all__:
    assert getattr(client, name).__name__ == name and name in dir(client)
try:
    client.nothing
except AttributeError as error:
    assert "has no attribute 'nothing'" in str(error)
else:
    raise AssertionError
"""
    loaded_after(code)


def test_arguments_of_verify_are_its_own() -> None:
    result = subprocess.run([*CLI, "verify", "--help"], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    assert "usage: colpali-serve verify" in result.stdout
