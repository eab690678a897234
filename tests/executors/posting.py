"""Posts with a plain `jina.Client`, and what comes back."""

from __future__ import annotations

import io
import re
import sys
import tempfile
from typing import Any

import pytest
from docarray import DocList
from jina import Client
from jina.excepts import BadServer
from PIL import Image

from colpali_serve.schemas import PageDoc, QueryDoc, ScoreDoc
from tests.conftest import ROOT

PLACES = "|".join(map(re.escape, (str(ROOT), sys.prefix, tempfile.gettempdir())))
LEAK = re.compile(rf"Traceback|File \"|site-packages|\.py\b|0x[0-9a-f]{{6}}|{PLACES}")


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def pages(images: list[Image.Image]) -> DocList[PageDoc]:
    return DocList[PageDoc](
        PageDoc(id=f"page-{i}", image=png(image), tags={"n": i}) for i, image in enumerate(images)
    )


def queries(*texts: str) -> DocList[QueryDoc]:
    return DocList[QueryDoc](QueryDoc(id=f"query-{i}", text=text) for i, text in enumerate(texts))


def post(client: Client, endpoint: str, docs: DocList, **parameters: Any) -> DocList:
    return client.post(endpoint, docs, return_type=type(docs), parameters=parameters)


def score(client: Client, endpoint: str, doc: ScoreDoc, **parameters: Any) -> ScoreDoc:
    return post(client, endpoint, DocList[ScoreDoc]([doc]), **parameters)[0]


def refusal(client: Client, endpoint: str, docs: DocList, **parameters: Any) -> tuple[str, str]:
    """Class name and message of the error that a post gets; nothing of the server may be in it."""
    with pytest.raises(BadServer) as caught:
        post(client, endpoint, docs, **parameters)
    header = caught.value.args[0]
    assert not LEAK.search(str(header)), header
    return header.status.exception.name, header.status.exception.args[0]
