"""A Flow whose ways part and meet again, behind our gateway: requests are copied and merged."""

import pytest
from docarray import DocList

from colpali_serve.schemas import QueryDoc
from tests.flows.processes import running_flow
from tests.gateway.calls import GATEWAY, queries

EXECUTORS = """\
  - name: left
    uses: Front
    py_modules: [tests.gateway.executors]
    needs: gateway
  - name: right
    uses: Taker
    py_modules: [tests.gateway.executors]
    needs: gateway
  - name: end
    uses: Back
    py_modules: [tests.gateway.executors]
    needs: [left, right]
"""


@pytest.fixture(scope="module")
def branching():
    with running_flow(GATEWAY.format(routes="{}") + EXECUTORS) as server:
        yield server.client


def test_ways_meet_again_as_behind_jina_s_own_gateway(branching):
    found = branching.post(
        "/embed_queries", queries("a", "b"), return_type=DocList[QueryDoc], request_size=1
    )
    assert sorted(query.text for query in found) == ["a", "b"]
    # Of documents of one id Jina keeps those of one way, whichever came last.
    for query in found:
        assert query.tags["seen_by"] in (["front", "back"], ["taker", "back"])
