"""The Flow under load: concurrent callers that post single pages, and a query caller beside."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Taken
from colpali_serve.client import AsyncColPaliClient, ColPaliClient
from colpali_serve.client.cli.server import free_port, running, wait_until_ready
from colpali_serve.schemas import OverloadedError, PageDoc

_QUERY = "how is the data checked"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Service:
    """A Flow that runs in processes of its own."""

    port: int
    pid: int

    def _pids(self) -> list[int]:
        pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
        parents = {pid: int(fields[1]) for pid in pids if (fields := _stat(pid))}
        family = [self.pid]
        for pid in family:
            family += [child for child, parent in parents.items() if parent == pid]
        return family

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far."""
        stats = filter(None, map(_stat, self._pids()))
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / _TICKS

    def resident_mb(self) -> float:
        """Memory of all its processes, pages that they share counted once for each, in MiB."""
        total = 0
        for pid in self._pids():
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
        return total * os.sysconf("SC_PAGE_SIZE") / 1024**2


def _stat(pid: int) -> list[str]:
    """What /proc says of a process behind its name: state, parent, ...; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


@contextmanager
def served(flow: Path, model: str, env: Mapping[str, str]) -> Iterator[Service]:
    """Serve a Flow until the block ends.

    Raises:
        ServiceUnavailableError: It does not start.
    """
    port = free_port()
    with running(str(flow), port, ["--model", model], env) as process:
        wait_until_ready(process, ColPaliClient("127.0.0.1", port))
        yield Service(port, process.pid)


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

    crowds = asyncio.gather(*map(crowd, range(callers)))
    while not crowds.done():
        highest = max(highest, service.resident_mb())
        await asyncio.sleep(0.1)
    await crowds
    return Overload(served, tuple(refusals), (before, highest))
