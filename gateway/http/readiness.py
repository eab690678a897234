"""Whether the encoder works: it has answered a real forward lately."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from colpali_serve.gateway.http.flow import FlowCaller
from colpali_serve.gateway.limits import CALLER, Caller
from colpali_serve.schemas import EMBED_QUERIES, ColPaliError, QueryDoc, ServiceUnavailableError

_log = logging.getLogger("colpali_serve.gateway.http")

# Shares of the time for which an answer of the encoder counts: after so long without one it is
# asked, waited for, and asked again; more than one try fits in.
_PROBE_AFTER = 0.4
_PROBE_LIMIT = 0.25
_RETRY = 0.1


class Readiness:
    """Knows when the encoder last worked, and asks it when nobody else has lately.

    Args:
        handler: The gateway's `GuardedRequestHandler`, which sees all traffic.
        flow: How to ask.
    """

    def __init__(self, handler: Any, flow: FlowCaller) -> None:
        self._handler = handler
        self._flow = flow
        self._fresh_s: float = handler.limits.settings.ready_within_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch, if anybody embeds queries here at all."""
        if EMBED_QUERIES in self._handler.endpoints:
            self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def check(self) -> float:
        """Return how many seconds ago the encoder worked.

        Raises:
            ServiceUnavailableError: Too long ago, or never.
        """
        if self._task is None:
            return 0.0
        last = self._handler.last_forward
        if last is None:
            raise ServiceUnavailableError("the encoder has not answered yet, try again later")
        age = time.monotonic() - last
        if age > self._fresh_s:
            raise ServiceUnavailableError(
                f"the encoder last answered {age:.0f} s ago, expected at most {self._fresh_s:.0f} s"
            )
        return float(age)

    async def _watch(self) -> None:
        CALLER.set(Caller("readiness", "probe", counted=True))
        while True:
            last = self._handler.last_forward
            wait_s = 0.0 if last is None else last + _PROBE_AFTER * self._fresh_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                continue
            try:
                async with asyncio.timeout(_PROBE_LIMIT * self._fresh_s):
                    await self._flow.post(EMBED_QUERIES, [QueryDoc(id="ready", text="ready?")])
            except (ColPaliError, TimeoutError) as error:
                _log.warning("the encoder does not answer: %r", error)
                await asyncio.sleep(_RETRY * self._fresh_s)
