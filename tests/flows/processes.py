"""Flows and other servers as processes of their own.

Never a `with Flow(...)` inside the test process: Jina forks its pods, and a process that has
used gRPC before, as any test with a client has, now and then forks children that hang.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jina import Client

from tests.conftest import ROOT
from tests.service import START_TIMEOUT_S, free_port, stop, wait_until_serving

HOST = "127.0.0.1"
_RUN_FLOW = """
import sys
from jina import Flow

if __name__ == "__main__":
    flow = Flow.load_config(sys.argv[1])
    flow.port = int(sys.argv[2])
    with flow:
        print("the Flow is up", flush=True)
        flow.block()
"""


class Server:
    """A process that listens on `port`; its output goes to a file."""

    def __init__(self, process: subprocess.Popen[str], output: Path, port: int) -> None:
        self.process = process
        self.port = port
        self._output = output

    @property
    def client(self) -> Client:
        return Client(host=HOST, port=self.port)

    def log(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        wait_until_serving(self.port, self.process, self._output)

    def wait_until_logged(self, text: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while text not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def wait_until_ended(self) -> int:
        return self.process.wait(START_TIMEOUT_S)

    def stop(self) -> None:
        stop(self.process)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    port: int,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Server]:
    """Run a command that will listen on `port`, without waiting for it."""
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # The log breaks lines at the width of the terminal, and tests look for sentences.
    given = {"PYTHONPATH": search, "PYTHONWARNINGS": "ignore", "COLUMNS": "2000"}
    with tempfile.NamedTemporaryFile(suffix=".log") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=os.environ | given | dict(environ or {}),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        server = Server(process, Path(output.name), port)
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def starting_flow(
    yaml: str | Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Server]:
    """Run a Flow, from a YAML file or text, on a free port, without waiting for it."""
    port = free_port()
    command = [sys.executable, "-c", _RUN_FLOW, yaml, str(port)]
    with running(command, port, environ, cwd) as server:
        yield server


@contextlib.contextmanager
def running_flow(
    yaml: str | Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Server]:
    """As `starting_flow`, ready for requests."""
    with starting_flow(yaml, environ, cwd) as server:
        server.wait_until_ready()
        # The gateway is quicker than the process that started it: a Ctrl+C before that one knows
        # that all is well would leave its pods behind.
        server.wait_until_logged("the Flow is up")
        yield server
