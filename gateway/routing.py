"""Which Executor a request goes to, and which requests go nowhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from jina.constants import __default_endpoint__
from jina.serve.executors import __dry_run_endpoint__

from colpali_serve.schemas import ConfigError, InvalidInputError

_MAX_TARGET = 200
# Jina takes a target for a regular expression and matches it in the gateway's only event loop: with
# groups or repetition a caller could keep it busy for hours.
_TARGET = re.compile(rf"[\w\-.|^$]{{1,{_MAX_TARGET}}}")


def check_routes(routes: object, executors: Collection[str]) -> dict[str, str]:
    """Return `routes` if they can be routes of a Flow with these Executors.

    Args:
        routes: The setting as it stands in YAML; None means no routes.
        executors: Names of the Flow's Executors.

    Raises:
        ConfigError: It is no mapping of endpoints to Executor names.

    >>> check_routes({"/score": "ranker"}, ["encoder", "ranker"])
    {'/score': 'ranker'}
    >>> check_routes({"/score": "rnaker"}, ["encoder", "ranker"])
    Traceback (most recent call last):
    ...
    colpali_serve.schemas.errors.ConfigError: routes: '/score' goes to executor 'rnaker', \
expected one of encoder, ranker
    """
    if routes is None:
        return {}
    if not isinstance(routes, Mapping):
        raise ConfigError(f"routes is {routes!r}, expected a mapping from endpoint to executor")
    for endpoint, executor in routes.items():
        if executor not in executors:
            known = ", ".join(sorted(executors)) or "none, this Flow has no executors"
            raise ConfigError(
                f"routes: {endpoint!r} goes to executor {executor!r}, expected one of {known}",
                str(executor),
            )
    return {str(endpoint): str(executor) for endpoint, executor in routes.items()}


def check_parameters(request: Any) -> None:
    """Refuse parameters that Jina itself stumbles over.

    Raises:
        InvalidInputError: They hold a number that JSON has no word for.
    """
    try:
        _ = request.parameters
    except ValueError:
        raise InvalidInputError(
            "parameters hold a number that is NaN or infinite, expected finite numbers"
        ) from None


class RoutingTable:
    """What the Executors of a Flow bind, and what goes straight to one of them.

    Args:
        routes: Endpoint -> name of the Executor that serves it, from `check_routes`.
        bound: Name of each Executor -> the endpoints that it binds.

    Raises:
        ConfigError: A route's Executor does not bind its endpoint.

    >>> table = RoutingTable({"/a": "x"}, {"x": ["/a"], "y": ["/a", "/b"]})
    >>> table.endpoints
    ('/a', '/b')
    >>> table.target("/a", ""), table.target("/b", ""), table.target("/a", "y")
    ('x$', '', 'y')
    """

    def __init__(self, routes: Mapping[str, str], bound: Mapping[str, Collection[str]]) -> None:
        self._bound = {name: frozenset(endpoints) for name, endpoints in bound.items()}
        every = frozenset[str]().union(*self._bound.values())
        self.endpoints = tuple(sorted(every - {__default_endpoint__, __dry_run_endpoint__}))
        for endpoint, executor in routes.items():
            if not self._takes(executor, endpoint):
                known = ", ".join(e for e in self.endpoints if e in self._bound[executor])
                raise ConfigError(
                    f"routes: executor {executor!r} does not bind {endpoint!r}, expected one of "
                    f"{known or 'none, it binds no endpoint'}",
                    endpoint,
                )
        # Jina takes the target for a pattern and matches it at the start of each name.
        self._targets = {endpoint: f"{re.escape(name)}$" for endpoint, name in routes.items()}

    def _takes(self, executor: str, endpoint: str) -> bool:
        return not self._bound[executor].isdisjoint((endpoint, __default_endpoint__))

    def target(self, endpoint: str, target_executor: str) -> str:
        """Return the pattern of the Executors that shall see a request, "" meaning all.

        Args:
            endpoint: The request's endpoint.
            target_executor: The pattern that the caller sent; "" where there is none.

        Raises:
            InvalidInputError: No Executor that the request may go to binds the endpoint.
        """
        if endpoint == __dry_run_endpoint__:
            return ""
        if not any(self._takes(executor, endpoint) for executor in self._bound):
            known = ", ".join(self.endpoints)
            expected = f"expected one of {known}" if known else "this Flow has no endpoints"
            raise InvalidInputError(f"endpoint {endpoint!r} does not exist, {expected}", endpoint)
        if not target_executor:
            return self._targets.get(endpoint, "")
        if not _TARGET.fullmatch(target_executor):
            shown = target_executor[:_MAX_TARGET]
            raise InvalidInputError(
                f"target_executor {shown!r} is not allowed, expected names joined by '|'", shown
            )
        chosen = [name for name in self._bound if re.match(target_executor, name)]
        if not any(self._takes(executor, endpoint) for executor in chosen):
            binding = ", ".join(name for name in self._bound if self._takes(name, endpoint))
            raise InvalidInputError(
                f"target_executor {target_executor!r} matches no executor that binds "
                f"{endpoint!r}, expected one of {binding}",
                target_executor,
            )
        return target_executor
