import pytest

from tests.flows.processes import running_flow
from tests.gateway.calls import FLOW


@pytest.fixture(scope="module")
def client():
    """A client of a Flow in which /embed_queries goes to `front` alone."""
    with running_flow(FLOW.format(routes="{/embed_queries: front}")) as server:
        yield server.client
