"""A request's way in and out: counted, held against the limits, let go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

from colpali_serve.gateway.limits import CALLER, Limits
from colpali_serve.gateway.metrics import Metrics
from colpali_serve.gateway.sealed import count_pages


class Visit:
    """A request that is being handled.

    What HTTP's door has counted already, and the gateway's own probes, are not counted here.

    Args:
        request: Jina's `DataRequest`.
        routes: Endpoints that exist; others are counted as ``other``.
        limits: What a caller may ask for.
        metrics: Figures.
    """

    def __init__(
        self, request: Any, routes: Collection[str], limits: Limits, metrics: Metrics
    ) -> None:
        self._request = request
        self._limits = limits
        self._metrics = metrics
        self._caller = CALLER.get()
        self._places = ExitStack()
        endpoint = request.header.exec_endpoint
        self._route = endpoint if endpoint in routes else "other"
        self._began = time.monotonic()
        if not self._caller.counted:
            metrics.began(self._caller.door)

    def admit(self) -> None:
        """Take the caller's place.

        Raises:
            OverloadedError: The caller has too many requests under way, or all callers too much.
            TooLargeError: The request has too many pages.
            InvalidInputError: Its documents cannot be read.
        """
        if not self._caller.counted:
            self._places.enter_context(self._limits.slot(self._caller.name))
            held = self._places.enter_context(self._limits.holding())
            held.add(self._request.nbytes)
        self._limits.check_pages(count_pages(self._request))

    def end(self, status: str) -> None:
        """Leave the place.

        Args:
            status: ``ok``, or the class of the error.
        """
        self._places.close()
        if not self._caller.counted:
            seconds = time.monotonic() - self._began
            self._metrics.ended(self._caller.door, self._route, status, seconds)

    def settled(self, task: asyncio.Future[Any]) -> None:
        """Leave the place when a task is done, with what became of it."""
        if task.cancelled():
            self.end("cancelled")
        elif task.exception() is not None:
            self.end("unavailable")
        else:
            self.end(task.result().header.status.exception.name or "ok")
