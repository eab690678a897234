import pytest

from tests.gateway.calls import FLOW, serving


@pytest.fixture(scope="module")
def client():
    """A client of a Flow in which /embed_queries goes to `front` alone."""
    with serving(FLOW.format(routes="{/embed_queries: front}")) as served:
        yield served
