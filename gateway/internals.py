"""The only place that reaches into Jina's private attributes.

Jina builds the function that carries a request through the Flow inside a constructor, and both
its streaming and its unary door call it; there is no public way to stand in between. Overriding
the doors themselves would mean to reimplement the order, prefetching and retries of streams.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jina
from jina.serve.stream import RequestStreamer

from colpali_serve.schemas import ConfigError

_OF_A_REQUEST = ("outgoing_nodes", "parts_to_send")
"""What a node of the graph has of a request's own, and what leads to nodes that have such."""

RequestHandler = Callable[..., tuple[Any, Any]]
"""(request, return_type) -> (future of the response, future of floating Executors or None)."""

ResultHandler = Callable[[Any], Any]
"""response -> response, counting it."""


def wrap_handlers(
    streamer: Any,
    wrap_request: Callable[[RequestHandler], RequestHandler],
    wrap_result: Callable[[ResultHandler], ResultHandler],
) -> None:
    """Put a gateway's own functions around those that carry requests and count results.

    Args:
        streamer: The `GatewayStreamer` of a gateway.
        wrap_request: Gets Jina's function and returns the one to use.
        wrap_result: As `wrap_request`.

    Raises:
        ConfigError: This release of Jina is built in another way.
    """
    inner = getattr(streamer, "_streamer", None)
    if not isinstance(inner, RequestStreamer):
        raise _unexpected("GatewayStreamer._streamer is no RequestStreamer")
    if not isinstance(getattr(inner, "_prefetch", None), int):
        raise _unexpected("RequestStreamer._prefetch is no number")
    if not isinstance(getattr(RequestStreamer, "_EndOfStreaming", None), type):
        raise _unexpected("RequestStreamer._EndOfStreaming is no class")
    for name, expected in (
        ("_request_handler", ["request", "return_type"]),
        ("_result_handler", ["result"]),
    ):
        function = getattr(inner, name, None)
        if not callable(function) or list(inspect.signature(function).parameters) != expected:
            raise _unexpected(f"RequestStreamer.{name} is no function of {', '.join(expected)}")
    inner._request_handler = wrap_request(inner._request_handler)
    inner._result_handler = wrap_result(inner._result_handler)


def stream_terms(streamer: Any, context: Any) -> tuple[int, bool]:
    """Return how many requests of a stream Jina lets in at once, and whether it answers in order.

    Args:
        streamer: The `GatewayStreamer` of a gateway, with its handlers wrapped.
        context: Of gRPC; its metadata are where Jina's client says what it wants.
    """
    own = streamer._streamer._prefetch
    most, ordered = own, False
    for key, value in (context.invocation_metadata() or ()) if context is not None else ():
        if key == "__results_in_order__":
            ordered = value == "true"
        elif key == "__prefetch__":
            # As Jina does: what is no number is passed over, and 0 is the Flow's own.
            with suppress(ValueError):
                most = int(value) or own
    return most, ordered


def end_of_stream() -> Any:
    """Return what Jina takes, as the result of a request, for the end of an ordered stream."""
    return RequestStreamer._EndOfStreaming()


def share_graph(streamer: Any) -> None:
    """Let requests have copies of the graph that share what no request changes.

    Jina copies the graph of Executors for each request, with the schemas of all their endpoints in
    it: three milliseconds that the gateway does nothing else in.

    Args:
        streamer: The `GatewayStreamer` of a gateway.

    Raises:
        ConfigError: This release of Jina is built in another way.
    """
    graph: Any = getattr(streamer, "topology_graph", None)
    nodes = getattr(graph, "_origin_nodes", None)
    if not isinstance(nodes, list) or not all(hasattr(n, "outgoing_nodes") for n in nodes):
        raise _unexpected("GatewayStreamer.topology_graph has no nodes")

    def copied(memo: dict[int, Any]) -> Any:
        for node in graph.all_nodes:
            for name, value in vars(node).items():
                if name not in _OF_A_REQUEST:
                    memo[id(value)] = value
        other = copy.copy(graph)
        del other.__deepcopy__
        other._origin_nodes = copy.deepcopy(graph._origin_nodes, memo)
        return other

    graph.__deepcopy__ = copied


def executor_names(streamer: Any) -> list[str]:
    """Return the names of a Flow's Executors.

    Raises:
        ConfigError: This release of Jina is built in another way.
    """
    try:
        return [name for name in (node.name for node in _nodes(streamer)) if name]
    except AttributeError as error:
        raise _unexpected(str(error)) from error


async def bound_endpoints(streamer: Any, is_cancel: Any) -> dict[str, list[str]] | None:
    """Ask every Executor what it binds, for as long as it takes them to come up.

    Args:
        streamer: The `GatewayStreamer` of a gateway.
        is_cancel: Event that ends the waiting.

    Returns:
        Endpoints by Executor; None where the waiting was ended.

    Raises:
        ConfigError: This release of Jina is built in another way.
    """
    try:
        await streamer._get_endpoints_input_output_models(is_cancel=is_cancel)
        if is_cancel.is_set():
            return None
        return {node.name: list(node.endpoints) for node in _nodes(streamer)}
    except (AttributeError, TypeError) as error:
        raise _unexpected(str(error)) from error


def _nodes(streamer: Any) -> list[Any]:
    graph = streamer.topology_graph
    # Each way through the Flow ends in a node of Jina's own, which is no Executor.
    return [node for node in graph.all_nodes if not isinstance(node, graph._EndGatewayNode)]


def _unexpected(found: str) -> ConfigError:
    return ConfigError(
        f"jina {jina.__version__} does not fit this gateway, which was written for jina 3.34: "
        f"{found}"
    )
