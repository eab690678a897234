"""The encoder served alone, as ``Deployment(uses='config.yml')`` does it: requests share it."""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from docarray import DocList
from jina import Client
from jina.excepts import BadServer
from PIL import Image

from colpali_serve.schemas import EMBED_IMAGES, EMBED_QUERIES, PageDoc, QueryDoc
from tests.conftest import ROOT
from tests.executors.posting import LEAK, pages, post, queries
from tests.service import free_port, running

PAGES, MANY_QUERIES, MAX_QUEUE_ITEMS = 40, 25, 45


class Served(NamedTuple):
    port: int
    port_monitoring: int

    def metrics(self) -> str:
        """What Prometheus would fetch."""
        url = f"http://127.0.0.1:{self.port_monitoring}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def served(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    ports = Served(free_port(), free_port())
    script = str(ROOT / "tests" / "executors" / "serve_deployment.py")
    env = {
        "COLPALI_MODEL": str(checkpoint("colqwen2")),
        "COLPALI_DEVICE": "cpu",
        "COLPALI_DTYPE": "float32",
        # One page at a time: a request of many takes its time.
        "COLPALI_BATCH_PATCHES": "1",
        "COLPALI_MAX_QUEUE_ITEMS": str(MAX_QUEUE_ITEMS),
    }
    command = [sys.executable, script, str(ROOT / "config.yml"), *map(str, ports)]
    log = tmp_path_factory.mktemp("deployment") / "log"
    with running(command, ports.port, log, env):
        yield ports


def test_figures_are_there_from_the_start(served: Served) -> None:
    # Before the first request, which the next tests send.
    found = served.metrics()
    assert "\ncolpali_admitted_items_total " in found
    assert "\ncolpali_queue_items " in found


def test_a_request_is_answered_or_refused_while_a_longer_one_runs(
    served: Served, images: list[Image.Image]
) -> None:
    """Were there a lock around the Executor, nobody would hear anything before the long one."""
    client = Client(port=served.port, asyncio=True)
    many = pages([images[number % 3] for number in range(PAGES)])
    heard: list[str] = []

    async def ask(endpoint: str, docs: DocList) -> list[PageDoc | QueryDoc] | None:
        """The answer, or None where there is no room."""
        try:
            stream = client.post(endpoint, docs, return_type=type(docs))
            return [doc async for batch in stream for doc in batch]
        except BadServer as error:
            header = error.args[0]
            assert not LEAK.search(str(header)), header
            assert header.status.exception.name == "OverloadedError"
            message = header.status.exception.args[0]
            assert f"expected at most {MAX_QUEUE_ITEMS} of" in message
            assert message.endswith("try again later")
            return None

    async def long() -> list[PageDoc]:
        # There is no room for it beside the queries below, if these come first.
        while (found := await ask(EMBED_IMAGES, many)) is None:
            pass
        return found

    async def everyone() -> list[PageDoc]:
        asked = asyncio.ensure_future(long())
        while not asked.done():
            found = await ask(EMBED_QUERIES, queries(*["red"] * MANY_QUERIES))
            if found is None:  # so the pages are in the queue, most of them
                (query,) = await ask(EMBED_QUERIES, queries("red"))
                assert query.embedding is not None
                heard.append("after" if asked.done() else "meanwhile")
        return await asked

    found = asyncio.run(everyone())
    assert heard.count("meanwhile") >= 1, heard
    alone = post(Client(port=served.port), EMBED_IMAGES, pages(images))
    for number, page in enumerate(found):
        expected = alone[number % 3].embedding.astype(np.float32)
        np.testing.assert_allclose(page.embedding.astype(np.float32), expected, atol=2e-3)


def test_figures_can_be_fetched_after_requests(served: Served, images: list[Image.Image]) -> None:
    post(Client(port=served.port), EMBED_IMAGES, pages(images))
    found = served.metrics()
    assert 'colpali_batch_items_count{kind="page"}' in found
    assert "\ncolpali_queue_items " in found
    admitted = next(
        line for line in found.splitlines() if line.startswith("colpali_admitted_items_total")
    )
    assert float(admitted.split()[1]) >= len(images)
