"""What happens before and beside requests: routes are proved, pods start, Executors go away."""

import sys

import pytest
from docarray import DocList
from jina.excepts import BadServer

from colpali_serve.schemas import QueryDoc
from tests.flows.processes import HOST, running, running_flow, starting_flow
from tests.gateway.calls import FLOW, queries
from tests.service import free_port

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
def test_a_flow_with_a_bad_route_does_not_start(routes, message):
    with starting_flow(FLOW.format(routes=routes)) as server:
        assert server.wait_until_ended() != 0
        assert f"ConfigError: {message}" in server.log()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_any_start_method_and_working_directory(tmp_path, method):
    yaml = FLOW.format(routes="{/embed_queries: front}")
    with running_flow(yaml, {"JINA_MP_START_METHOD": method}, cwd=tmp_path) as server:
        docs = server.client.post(
            "/embed_queries", queries("a"), return_type=DocList[QueryDoc], target_executor="front"
        )
        assert docs[0].tags == {"seen_by": ["front"]}


def test_an_executor_with_a_default_endpoint_is_asked_for_anything():
    with running_flow(TAKER) as server:
        docs = server.client.post("/anything", queries("a"), return_type=DocList[QueryDoc])
        assert docs[0].tags == {"seen_by": ["taker"]}


def test_an_executor_that_went_away():
    port = free_port()
    command = [sys.executable, "-m", "jina", "executor", "--native", "--port", str(port)]
    command += ["--uses", "Back", "--py-modules", "tests.gateway.executors"]
    with running(command, port) as executor:
        executor.wait_until_ready()
        with running_flow(EXTERNAL.format(host=HOST, port=port)) as server:
            client = server.client
            assert client.is_flow_ready()
            executor.stop()
            for stream in (True, False):
                with pytest.raises(ConnectionError) as error:
                    client.post("/embed_queries", queries("a"), stream=stream)
                text = str(error.value)
                assert "UNAVAILABLE the service is not available now, try again later" in text
                assert str(port) not in text
                assert "back" not in text
            assert f"{HOST}:{port}" in server.log()
            # The gateway itself is well, and knows what there was to ask for.
            with pytest.raises(BadServer):
                client.post("/nope", queries("a"))
            assert not client.is_flow_ready()
