"""The Flow under load: concurrent callers that post single pages, and a query caller beside."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Taken
from colpali_serve.client import AsyncColPaliClient
from colpali_serve.schemas import OverloadedError, PageDoc

_READY_TIMEOUT_S = 900.0
_QUERY = "how is the data checked"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Service:
    """A Flow that runs in processes of its own."""

    port: int
    pid: int

    def _pids(self) -> list[int]:
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(path.parent.name)] = int(fields[1])
        family = [self.pid]
        for pid in family:
            family += [child for child, parent in parents.items() if parent == pid]
        return family

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far."""
        total = 0
        for pid in self._pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / _TICKS

    def resident_mb(self) -> float:
        """Memory of all its processes, pages that they share counted once for each, in MiB."""
        total = 0
        for pid in self._pids():
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
        return total * os.sysconf("SC_PAGE_SIZE") / 1024**2


@contextmanager
def served(flow: Path, model: str, env: Mapping[str, str]) -> Iterator[Service]:
    """Serve a Flow until the block ends.

    Raises:
        RuntimeError: It does not start; the message ends with its log.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "colpali_serve.client.cli", "serve", str(flow)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--model", model],
            stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env={**os.environ, **env},
        )  # fmt: skip
        try:
            with AsyncToSync(port) as client:
                client.wait(process)
            yield Service(port, process.pid)
        except Exception:
            log.seek(0)
            sys.stderr.write(log.read()[-3000:])
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


class AsyncToSync:
    """Waits for a service to be ready."""

    def __init__(self, port: int) -> None:
        self._client = AsyncColPaliClient("127.0.0.1", port)

    def __enter__(self) -> AsyncToSync:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Embed a query until that works.

        Raises:
            RuntimeError: The process ended, or took too long.
        """
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                asyncio.run(self._client.embed_queries(_QUERY))
            except Exception:  # noqa: BLE001  (whatever it is: not ready yet)
                time.sleep(1)
            else:
                return
        raise RuntimeError("the Flow did not start")


def under_load(service: Service, pages: Sequence[bytes], callers: int, with_query: bool) -> Taken:
    """Post pages one by one from `callers` at once.

    Args:
        service: The Flow.
        pages: All that is to be embedded.
        callers: Posts at a time.
        with_query: Whether one more caller asks a query, over and over, meanwhile.
    """
    return asyncio.run(_under_load(service, pages, callers, with_query))


async def _under_load(
    service: Service, pages: Sequence[bytes], callers: int, with_query: bool
) -> Taken:
    client = AsyncColPaliClient("127.0.0.1", service.port)
    left = list(enumerate(pages))
    page_s: list[float] = []
    query_s: list[float] = []

    async def page_caller() -> None:
        while left:
            number, page = left.pop()
            began = time.perf_counter()
            await client.embed_pages(PageDoc(id=str(number), image=page))
            page_s.append(time.perf_counter() - began)

    async def query_caller() -> None:
        while True:
            began = time.perf_counter()
            await client.embed_queries(_QUERY)
            query_s.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)

    await client.embed_queries(_QUERY)
    cpu, began = service.cpu_seconds(), time.perf_counter()
    asking = asyncio.create_task(query_caller()) if with_query else None
    try:
        await asyncio.gather(*(page_caller() for _ in range(callers)))
    finally:
        seconds = time.perf_counter() - began
        if asking is not None:
            asking.cancel()
    used = service.cpu_seconds() - cpu
    return Taken(len(pages), seconds, used, tuple(page_s), tuple(query_s))


@dataclass(frozen=True)
class Overload:
    """What became of more callers than fit into the queue.

    Attributes:
        served: Posts that were answered.
        refusal_s: How long each refusal took, in seconds, those of the first rush left out: there
            the callers' own process is what is slow.
        resident_mb: Memory of the service before and its highest meanwhile, in MiB.
    """

    served: int
    refusal_s: tuple[float, ...]
    resident_mb: tuple[float, float]


def overloaded(service: Service, page: bytes, callers: int, seconds: float) -> Overload:
    """Let `callers` post a page each, over and over, and wait a second after a refusal."""
    return asyncio.run(_overloaded(service, page, callers, seconds))


async def _overloaded(service: Service, page: bytes, callers: int, seconds: float) -> Overload:
    client = AsyncColPaliClient("127.0.0.1", service.port, retries=0)
    before = highest = service.resident_mb()
    served = 0
    refusals: list[float] = []
    begun = time.perf_counter()

    async def crowd(number: int) -> None:
        nonlocal served
        while (began := time.perf_counter()) < begun + seconds:
            try:
                await client.embed_pages(PageDoc(id=str(number), image=page))
                served += 1
            except OverloadedError:
                if began > begun + seconds / 3:
                    refusals.append(time.perf_counter() - began)
                await asyncio.sleep(random.uniform(1, 5))

    running = asyncio.gather(*map(crowd, range(callers)))
    while not running.done():
        highest = max(highest, service.resident_mb())
        await asyncio.sleep(0.1)
    await running
    return Overload(served, tuple(refusals), (before, highest))
