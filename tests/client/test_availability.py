"""A service that is not there yet, and one that is there no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from colpali_serve.client import ColPaliClient
from colpali_serve.schemas import ServiceUnavailableError
from tests.client.conftest import members, serving
from tests.service import free_port


def test_nobody_there() -> None:
    port = free_port()
    client = ColPaliClient("localhost", port, retries=1, backoff_s=0.01)
    assert not client.is_ready()
    expected = (
        rf"no service at localhost:{port} \(.*\): start one with 'colpali-serve serve --port "
        f"{port}', or check host, port and TLS"
    )
    with pytest.raises(ServiceUnavailableError, match=expected):
        client.embed_queries("r")
    with pytest.raises(ServiceUnavailableError, match=r"was not ready within 0.1 s"):
        client.wait_ready(0.1)


def test_name_that_does_not_exist() -> None:
    client = ColPaliClient("no.such.host.invalid", retries=0)
    with pytest.raises(ServiceUnavailableError, match=r"no service at no\.such\.host"):
        client.embed_queries("r")


def test_service_comes_and_goes(tmp_path: Path) -> None:
    port = free_port()
    patient = ColPaliClient("localhost", port, retries=60, backoff_s=0.05)
    with serving(port, tmp_path / "log") as process:
        assert not patient.is_ready()
        # Posted to a closed port; answered because posts are tried again until it is open.
        (page,) = patient.embed_pages(Image.new("RGB", (2, 2)))
        assert page.embedding is not None
        assert patient.is_ready()
        process.terminate()
        assert process.wait(60) == 0
        assert members(process.pid) == []
    assert not patient.is_ready()
    with pytest.raises(ServiceUnavailableError, match=f"no service at localhost:{port}"):
        ColPaliClient("localhost", port, retries=0).embed_queries("r")
