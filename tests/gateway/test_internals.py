"""A release of Jina that is built in another way must be noticed at start."""

import asyncio
import copy
from types import SimpleNamespace

import pytest
from jina.serve.runtimes.gateway.graph.topology_graph import TopologyGraph
from jina.serve.stream import RequestStreamer

from colpali_serve.gateway.internals import (
    bound_endpoints,
    executor_names,
    share_graph,
    stream_terms,
    wrap_handlers,
)
from colpali_serve.schemas import ConfigError


def carry(request, return_type):
    return request, None


def count(result):
    return result


def carry_with_more(request, return_type, deadline):
    return request, None


def streamer(request_handler=carry, result_handler=count, prefetch=32):
    inner = RequestStreamer(
        request_handler=request_handler, result_handler=result_handler, prefetch=prefetch
    )
    return SimpleNamespace(_streamer=inner)


def test_handlers_are_wrapped():
    given = streamer()
    wrap_handlers(
        given,
        lambda inner: lambda request, return_type: ("seen", *inner(request, return_type)),
        lambda inner: lambda result: ("seen", inner(result)),
    )
    assert given._streamer._request_handler(request=1, return_type=None) == ("seen", 1, None)
    assert given._streamer._result_handler(2) == ("seen", 2)


@pytest.mark.parametrize(
    ("metadata", "terms"),
    [
        ((), (32, False)),
        (None, (32, False)),
        ((("__results_in_order__", "true"), ("other", "1")), (32, True)),
        ((("__results_in_order__", "false"), ("__prefetch__", "7")), (7, False)),
        ((("__prefetch__", "0"),), (32, False)),
        ((("__prefetch__", "seven"),), (32, False)),
        ((("__prefetch__", "-1"),), (-1, False)),
        ((("__prefetch__", "70"), ("__prefetch__", "0")), (32, False)),
    ],
)
def test_a_stream_s_terms_are_what_jina_makes_of_its_metadata(metadata, terms):
    context = SimpleNamespace(invocation_metadata=lambda: metadata)
    assert stream_terms(streamer(), context) == terms


def test_a_stream_without_a_context_has_the_flow_s_terms():
    assert stream_terms(streamer(prefetch=5), None) == (5, False)


def test_another_jina_without_an_end_of_streams_is_refused(monkeypatch):
    monkeypatch.delattr(RequestStreamer, "_EndOfStreaming")
    with pytest.raises(ConfigError, match=r"RequestStreamer\._EndOfStreaming"):
        wrap_handlers(streamer(), lambda inner: inner, lambda inner: inner)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (SimpleNamespace(), "GatewayStreamer._streamer"),
        (SimpleNamespace(_streamer="another"), "GatewayStreamer._streamer"),
        (streamer(request_handler=carry_with_more), "RequestStreamer._request_handler"),
        (streamer(result_handler=carry), "RequestStreamer._result_handler"),
        (streamer(result_handler=None), "RequestStreamer._result_handler"),
        (streamer(prefetch=None), "RequestStreamer._prefetch"),
    ],
)
def test_another_jina_is_refused(given, named):
    with pytest.raises(ConfigError, match=f"does not fit this gateway.*{named}"):
        wrap_handlers(given, lambda inner: inner, lambda inner: inner)


def test_another_graph_is_refused():
    with pytest.raises(ConfigError, match=r"does not fit this gateway.*topology_graph"):
        executor_names(SimpleNamespace())


def test_another_discovery_is_refused():
    async def main():
        await bound_endpoints(SimpleNamespace(), asyncio.Event())

    with pytest.raises(ConfigError, match="_get_endpoints_input_output_models"):
        asyncio.run(main())


def graph():
    description = {
        "start-gateway": ["encoder"],
        "encoder": ["ranker"],
        "ranker": ["end-gateway"],
    }
    found = TopologyGraph(description)
    for node in found.all_nodes:
        node.endpoints = ["/score"]
        node._pydantic_models_by_endpoint = {"/score": {"input": object()}}
    return found


def test_copies_of_the_graph_share_what_no_request_changes():
    given = graph()
    share_graph(SimpleNamespace(topology_graph=given))
    one, other = copy.deepcopy(given), copy.deepcopy(given)
    assert [node.name for node in one.all_nodes] == [node.name for node in given.all_nodes]
    for mine, yours, first in zip(one.all_nodes, other.all_nodes, given.all_nodes, strict=True):
        assert mine is not yours
        assert mine is not first
        assert mine._pydantic_models_by_endpoint is first._pydantic_models_by_endpoint
        mine.parts_to_send.append("a request")
        mine.status = "done"
        assert (yours.parts_to_send, yours.status) == ([], None)
    assert all(not node.parts_to_send for node in given.all_nodes)
    assert copy.deepcopy(one).origin_nodes[0].outgoing_nodes[0].name == "ranker"


@pytest.mark.parametrize("given", [SimpleNamespace(), SimpleNamespace(topology_graph=[])])
def test_a_graph_without_nodes_is_refused(given):
    with pytest.raises(ConfigError, match=r"does not fit this gateway.*topology_graph"):
        share_graph(given)
