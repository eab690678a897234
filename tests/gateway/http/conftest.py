"""The service with both doors open, and a plain HTTP client."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2 as httpx
import pytest

from tests.conftest import ROOT
from tests.service import free_port, running

MAX_REQUEST_MB = 8


class Service(NamedTuple):
    """Where the doors are, and what the service writes."""

    port: int
    address: str
    log: Path


@pytest.fixture(scope="package")
def service(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """flows/rank.yml with a tiny checkpoint whose pages have ragged embeddings."""
    log = tmp_path_factory.mktemp("http") / "log"
    port, http_port = free_port(), free_port()
    command = [sys.executable, "-m", "colpali_serve.client.cli", "serve"]
    command += [str(ROOT / "flows" / "rank.yml"), "--port", str(port)]
    command += ["--http-port", str(http_port)]
    env = {
        "COLPALI_MODEL": str(checkpoint("colqwen2")),
        "COLPALI_DEVICE": "cpu",
        "COLPALI_DTYPE": "float32",
        "COLPALI_ALLOW_HOSTS": "*",
        "COLPALI_FETCH_TIMEOUT_S": "3",
        "COLPALI_MAX_REQUEST_MB": str(MAX_REQUEST_MB),
        "COLPALI_MAX_PIXELS": "4000000",
        "COLPALI_MAX_PAGES": "64",
    }
    with running(command, port, log, env):
        yield Service(port, f"http://127.0.0.1:{http_port}", log)


@pytest.fixture(scope="package")
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.address, timeout=60) as client:
        yield client
