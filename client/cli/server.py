"""A service in a process of its own, for as long as a command needs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from colpali_serve.client.blocking import ColPaliClient
from colpali_serve.schemas import ServiceUnavailableError

_POLL_S = 0.25
_STOP_TIMEOUT_S = 30.0


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    flow: str, port: int, options: list[str], env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `colpali-serve serve`, and end it and all of its processes.

    Args:
        flow: YAML of the Flow.
        port: For its gateway.
        options: Further ones of `serve`.
        env: Variables beside this process's own.

    Yields:
        The process, which may still be starting.
    """
    command = [sys.executable, "-m", "colpali_serve.client.cli", "serve", flow]
    process = subprocess.Popen(
        # gRPC alone: nobody asks by HTTP, and its port may be somebody else's.
        [*command, "--port", str(port), "--http-port", "0", "--until-eof", *options],
        # Nothing is ever written: it ends when this process does, however that happens.
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # Away from this terminal's Ctrl-C, and in one group with its pods.
        start_new_session=True,
        env={**os.environ, **(env or {})},
    )
    try:
        yield process
    finally:
        _end(process)


def wait_until_ready(process: subprocess.Popen[bytes], client: ColPaliClient) -> None:
    """Wait for the service, as long as its process lives.

    Raises:
        ServiceUnavailableError: The process ended.
    """
    while not client.is_ready():
        if process.poll() is not None:
            raise ServiceUnavailableError(
                f"the Flow did not start (exit code {process.returncode}); what it said above "
                "tells why"
            )
        time.sleep(_POLL_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT_S)
    finally:
        # Whoever is left of its group; nobody, if it stopped as it should.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
