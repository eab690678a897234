"""Callers beside each other: a bad page of one is no concern of the others, nor is who leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from docarray import DocList
from jina import Client
from jina.excepts import BadServer
from PIL import Image

from colpali_serve.schemas import EMBED_IMAGES, PageDoc
from tests.conftest import ROOT
from tests.engine.test_images import png_header
from tests.executors.posting import LEAK, png, post
from tests.service import running_flow

FLOW = """
jtype: Flow
version: '1'
gateway: {uses: ColPaliGateway, py_modules: [colpali_serve.gateway], protocol: grpc}
executors:
  - name: encoder
    uses: FragileEncoder
    py_modules: [tests.executors.fragile]
"""
CALLERS, GOOD = 8, 63
POISONS = {
    "truncated": (
        png(Image.effect_noise((90, 90), 80))[:-500],
        "InvalidPageError",
        "page 'poison': image is truncated or broken",
    ),
    "refused by the processor": (
        png(Image.new("RGB", (6030, 30), "white")),
        "InvalidPageError",
        "page 'poison': image is 6030x30, a ratio of 201:1, expected at most 200:1",
    ),
    "a bomb": (
        png_header(60_000, 60_000),
        "InvalidPageError",
        "page 'poison': image has far too many pixels, expected at most 50000000",
    ),
    "failing in the model": (
        png(Image.new("RGB", (200, 150), "black")),
        "EncodingError",
        "page 'poison': the model failed, expected an embedding",
    ),
}


@pytest.fixture(scope="module")
def flow(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Path]]:
    """Its port and its log."""
    folder = tmp_path_factory.mktemp("fragile")
    (folder / "flow.yml").write_text(FLOW)
    env = {"COLPALI_MODEL": str(checkpoint("colqwen2")), "COLPALI_DEVICE": "cpu"}
    env |= {"COLPALI_BATCH_PATCHES": "2000", "COLPALI_DTYPE": "float32"}
    env |= {"PYTHONPATH": str(ROOT)}
    with running_flow(folder / "flow.yml", folder / "log", env=env) as port:
        yield port, folder / "log"


@pytest.fixture
def port(flow: tuple[int, Path]) -> int:
    return flow[0]


def page(number: int) -> PageDoc:
    """One of many pages of different sizes, none like another."""
    rng = np.random.default_rng(number)
    width, height = rng.integers(40, 300, 2)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PageDoc(id=str(number), image=png(Image.fromarray(pixels)))


@pytest.fixture(scope="module")
def alone(flow: tuple[int, Path]) -> list[PageDoc]:
    """What each page gets when nobody else asks."""
    client = Client(port=flow[0])
    return [post(client, EMBED_IMAGES, DocList[PageDoc]([page(n)]))[0] for n in range(GOOD)]


async def ask(port: int, docs: DocList[PageDoc]) -> list[PageDoc]:
    caller = Client(port=port, asyncio=True)
    stream = caller.post(EMBED_IMAGES, docs, return_type=DocList[PageDoc])
    return [found async for batch in stream for found in batch]


@pytest.mark.parametrize("kind", POISONS)
def test_one_bad_page_hurts_nobody_else(kind: str, port: int, alone: list[PageDoc]) -> None:
    image, name, message = POISONS[kind]

    async def everyone() -> list[object]:
        good = [
            ask(port, DocList[PageDoc](page(n) for n in range(caller, GOOD, CALLERS)))
            for caller in range(CALLERS)
        ]
        bad = ask(port, DocList[PageDoc]([PageDoc(id="poison", image=image)]))
        # In the midst of the others.
        calls = (*good[:4], bad, *good[4:])
        return await asyncio.gather(*calls, return_exceptions=True)

    *answers, refused = _last(asyncio.run(everyone()), 4)
    found = {doc.id: doc for answer in answers for doc in answer}
    assert len(found) == GOOD
    for expected in alone:
        got = found[expected.id]
        assert (got.error, got.grid) == (None, expected.grid)
        assert got.embedding.dtype == np.float16
        np.testing.assert_allclose(
            got.embedding.astype(np.float32), expected.embedding.astype(np.float32), atol=2e-3
        )
    assert isinstance(refused, BadServer), refused
    header = refused.args[0]
    assert not LEAK.search(str(header)), header
    assert header.status.exception.name == name
    assert header.status.exception.args[0].startswith(message)


def _last(answers: list[object], place: int) -> list[object]:
    return [*answers[:place], *answers[place + 1 :], answers[place]]


def test_a_caller_that_goes_away_is_noticed(flow: tuple[int, Path]) -> None:
    port, log = flow
    before = len(log.read_text())

    async def until(*words: str) -> str:
        """What comes first, said since the test began."""
        while not (found := [word for word in words if word in log.read_text()[before:]]):
            await asyncio.sleep(0.02)
        return found[0]

    async def go_away() -> str:
        call = asyncio.ensure_future(ask(port, DocList[PageDoc](map(page, range(GOOD)))))
        await until("a request is in the queue")
        call.cancel()
        return await until("its caller has gone", "a request is answered")

    assert asyncio.run(asyncio.wait_for(go_away(), 60)) == "its caller has gone"
