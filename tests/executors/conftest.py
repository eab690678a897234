"""One running Flow for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jina import Client

from tests.conftest import ROOT
from tests.service import running_flow


@pytest.fixture(scope="session")
def rank_port(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Port of flows/rank.yml, with a family whose pages have ragged embeddings."""
    log = tmp_path_factory.mktemp("flow") / "log"
    env = {
        "COLPALI_MODEL": str(checkpoint("colqwen2")),
        "COLPALI_DEVICE": "cpu",
        "COLPALI_DTYPE": "float32",
        "COLPALI_BATCH_SIZE": "3",
        "COLPALI_MAX_REQUEST_ITEMS": "40",
    }
    with running_flow(ROOT / "flows" / "rank.yml", log, env=env) as port:
        yield port


@pytest.fixture
def client(rank_port: int) -> Client:
    """A plain Jina client: what every user has."""
    return Client(host="localhost", port=rank_port)
