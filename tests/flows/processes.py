"""Flows and other servers as processes of their own.

Never a `with Flow(...)` inside the test process: Jina forks its pods, and a process that has
used gRPC before, as any test with a client has, now and then forks children that hang.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grpc
from jina import Client

from tests.conftest import ROOT

HOST = "127.0.0.1"
_PATIENCE_S = 300  # no measurement: where a test would otherwise wait forever
_STEP_S = 0.5
_RUN_FLOW = """
import sys
from jina import Flow

if __name__ == "__main__":
    flow = Flow.load_config(sys.argv[1])
    flow.port = int(sys.argv[2])
    with flow:
        flow.block()
"""


class Server:
    """A process that listens on `port`; its output goes to a file."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, port: int) -> None:
        self.process = process
        self.port = port
        self._output = output

    @property
    def client(self) -> Client:
        return Client(host=HOST, port=self.port)

    def log(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Return once the port answers; a process that ends before that fails the test."""
        # By default the pauses between two attempts grow to minutes.
        options = [("grpc.max_reconnect_backoff_ms", int(_STEP_S * 1000))]
        with grpc.insecure_channel(f"{HOST}:{self.port}", options) as channel:
            ready = grpc.channel_ready_future(channel)
            for _ in range(int(_PATIENCE_S / _STEP_S)):
                with contextlib.suppress(grpc.FutureTimeoutError):
                    ready.result(timeout=_STEP_S)
                    return
                if self.process.poll() is not None:
                    break
            ready.cancel()
        raise AssertionError(f"the server did not come up:\n{self.log()}")

    def wait_until_ended(self) -> int:
        return self.process.wait(_PATIENCE_S)

    def stop(self) -> None:
        """End the process as Ctrl+C does, then whatever it left behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


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
        yield server
