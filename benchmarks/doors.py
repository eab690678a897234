"""HTTP's door beside gRPC's: ``python -m benchmarks.doors``.

Both carry the same 32 pages to an Executor that answers at once, and bring the same embeddings
back as arrays. Contenders take turns; the medians of their ratios to gRPC count.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
import typer
from docarray import DocList
from jina import Client

from benchmarks.wire import SHAPE
from colpali_serve.client.cli.server import free_port
from colpali_serve.schemas import EMBED_IMAGES, PageDoc

_FLOW = """
jtype: Flow
version: '1'
gateway:
  uses: ColPaliGateway
  py_modules: [colpali_serve.gateway]
  protocol: [grpc, http]
  port: [{port}, {http_port}]
executors:
  - name: wire
    uses: Wire
    py_modules: [benchmarks.wire]
"""
_SERVE = """
import sys
from jina import Flow

if __name__ == "__main__":
    with Flow.load_config(sys.argv[1]) as flow:
        print("up", flush=True)
        sys.stdin.read()
"""
_JSON = {"content-type": "application/json"}

Arrays = list[np.ndarray]
Contender = Callable[[list[bytes]], Arrays]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pages", type=int, default=32)
    parser.add_argument("--page-kb", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=9)
    chosen = parser.parse_args()
    pages = [os.urandom(chosen.page_kb * 1000) for _ in range(chosen.pages)]
    with _served() as (port, http_port):
        contenders = _contenders(port, http_port)
        taken = _measure(contenders, pages, chosen.repeats)
    typer.echo(f"{chosen.pages} pages of {chosen.page_kb} KB, embeddings {SHAPE}")
    typer.echo(f"{'':34s} median ms   min ms   of gRPC (median of turns)")
    for name, seconds in taken.items():
        dtype = name.split()[-1]
        base = taken[f"gRPC {dtype}"]
        ratio = statistics.median(a / b for a, b in zip(seconds, base, strict=True))
        median, least = statistics.median(seconds) * 1000, min(seconds) * 1000
        typer.echo(f"{name:34s} {median:9.0f} {least:8.0f}   {ratio:.2f}")


def _contenders(port: int, http_port: int) -> dict[str, Contender]:
    found: dict[str, Contender] = {}
    for dtype in ("float16", "float32"):
        found[f"gRPC {dtype}"] = _grpc(port, dtype)
        found[f"HTTP /embed_images base64 {dtype}"] = _bento(http_port, dtype, "base64")
        found[f"HTTP /v1/embeddings base64 {dtype}"] = _openai(http_port, dtype)
        found[f"HTTP /embed_images lists {dtype}"] = _bento(http_port, dtype, "float")
    return found


def _measure(
    contenders: dict[str, Contender], pages: list[bytes], repeats: int
) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, contender in contenders.items():
            began = time.perf_counter()
            arrays = contender(pages)
            seconds = time.perf_counter() - began
            assert len(arrays) == len(pages)
            assert all(array.shape == SHAPE for array in arrays)
            if turn:  # the first one warms up
                taken[name].append(seconds)
    return taken


def _grpc(port: int, dtype: str) -> Contender:
    client = Client(host="127.0.0.1", port=port)

    def run(pages: list[bytes]) -> Arrays:
        docs = DocList[PageDoc](PageDoc(image=page) for page in pages)
        found = client.post(
            EMBED_IMAGES,
            docs,
            parameters={"embedding_dtype": dtype},
            return_type=DocList[PageDoc],
            request_size=len(pages),
        )
        return [np.asarray(doc.embedding) for doc in found]

    return run


def _bento(port: int, dtype: str, form: str) -> Contender:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def run(pages: list[bytes]) -> Arrays:
        items = [{"url": f"data:image/png;base64,{base64.b64encode(p).decode()}"} for p in pages]
        body = {"items": items, "encoding_format": form, "embedding_dtype": dtype}
        answer = _post(connection, "/embed_images", body)
        if form == "float":
            return [np.array(entry, dtype) for entry in answer]
        return [_unpacked(entry) for entry in answer]

    return run


def _openai(port: int, dtype: str) -> Contender:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def run(pages: list[bytes]) -> Arrays:
        images = [{"image": f"data:image/png;base64,{base64.b64encode(p).decode()}"} for p in pages]
        body = {"input": images, "encoding_format": "base64", "embedding_dtype": dtype}
        return [_unpacked(entry) for entry in _post(connection, "/v1/embeddings", body)["data"]]

    return run


def _post(connection: http.client.HTTPConnection, path: str, body: object):  # noqa: ANN202
    connection.request("POST", path, orjson.dumps(body), _JSON)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == http.HTTPStatus.OK, content[:300]
    return orjson.loads(content)


def _unpacked(entry: dict) -> np.ndarray:
    flat = np.frombuffer(base64.b64decode(entry["embedding"]), entry["dtype"])
    return flat.reshape(entry["shape"])


@contextlib.contextmanager
def _served() -> Iterator[tuple[int, int]]:
    port, http_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        flow = Path(folder) / "flow.yml"
        flow.write_text(_FLOW.format(port=port, http_port=http_port))
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SERVE, str(flow)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "JINA_LOG_LEVEL": "ERROR", "PYTHONPATH": str(Path.cwd())},
        )
        assert process.stdout is not None and process.stdin is not None
        try:
            while (line := process.stdout.readline()) and line != "up\n":
                continue
            yield port, http_port
        finally:
            process.stdin.close()
            process.wait(30)


if __name__ == "__main__":
    main()
