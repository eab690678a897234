"""Requests of a stream, taken at the pace of its answers.

What Jina does by itself: while a stream has as many requests under way as its prefetch allows, it
asks over and over whether one was answered, which takes a whole core, and goes on for ever if the
caller has left meanwhile. And a stream whose answers come in order never ends if the last of them
was out before the caller said that no more requests come.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

END = object()
"""Comes after the last request of a stream that is answered in order."""


class Turns:
    """Waits before a request is taken off the wire until its stream has room for it.

    Args:
        requests: Of the stream.
        most: How many may be under way; 0 or less: any number.
        ordered: Whether they are answered in order, so that `END` is wanted.
    """

    def __init__(self, requests: AsyncIterable[Any], most: int, ordered: bool) -> None:
        self._requests = requests
        self._ordered = ordered
        self._room = asyncio.Semaphore(most if most > 0 else sys.maxsize)
        self._closed = False

    async def taken(self) -> AsyncIterator[Any]:
        """Yield the requests."""
        incoming = aiter(self._requests)
        while await self._has_room():
            try:
                request = await anext(incoming)
            except StopAsyncIteration:
                if self._ordered:
                    yield END
                return
            yield request

    def answered(self) -> None:
        """Note that one of them was answered."""
        self._room.release()

    def close(self) -> None:
        """Take no more; whoever waits for room stops waiting."""
        self._closed = True
        self.answered()

    async def _has_room(self) -> bool:
        await self._room.acquire()
        return not self._closed
