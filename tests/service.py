"""Start the real service in processes of its own, wait until it serves, stop it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import ROOT

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_serving(port: int) -> bool:
    # A channel that was refused waits longer and longer before it tries again: take a new one.
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=2
            )
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def wait_until_serving(port: int, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    # The gateway serves a moment before the process that started it listens to signals.
    while not (is_serving(port) and "ready" in log.read_text()):
        if process.poll() is not None:
            raise RuntimeError(f"the service ended at start:\n{log.read_text()[-3000:]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the service does not serve:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)


@contextmanager
def running(
    command: list[str], port: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a command that serves on `port`, until the block ends."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        wait_until_serving(port, process, log)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """Interrupt a process, which ends its pods; what is left of the group then is killed."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def running_flow(
    flow: Path, log: Path, *, start_method: str = "fork", env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Serve a Flow; gives the port."""
    port = free_port()
    command = [sys.executable, str(ROOT / "tests" / "serve_flow.py"), str(flow), str(port)]
    settings = {"JINA_MP_START_METHOD": start_method, **(env or {})}
    with running(command, port, log, settings):
        yield port
