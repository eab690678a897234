"""The channel to a service, kept open from one post to the next."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

_IDLE_S = 2.0
_MAX_AGE_S = 60.0
# Or it would share its connection, and how long that waits, with other channels to the address.
_OPTIONS = {"grpc.use_local_subchannel_pool": 1}


class Channels:
    """Opens a channel when it is needed, and closes it when nobody has used it for a while.

    A new one costs a post some milliseconds, and begins with small windows. But none is kept for
    long: behind one address there may be several gateways, and each new channel may find another.

    Args:
        address: host:port.
        tls: Encrypt, and verify the server by the system's certificates.
    """

    def __init__(self, address: str, tls: bool) -> None:
        self._address, self._tls = address, tls
        self._open: _Open | None = None

    @contextlib.asynccontextmanager
    async def borrowed(self) -> AsyncIterator[Any]:
        """Yield a channel; a block that fails is the last one that uses it.

        gRPC waits longer and longer before it tries an address again that did not answer, whoever
        asks; a new channel tries at once.
        """
        channel = self._current()
        channel.users += 1
        try:
            yield channel.channel
        except BaseException:
            if self._open is channel:
                self._open = None
            raise
        finally:
            channel.users -= 1
            channel.used = time.monotonic()

    def _current(self) -> _Open:
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        found = self._open
        # A process that was forked has a loop of its own, and none of the connections.
        if found is None or found.loop is not loop or now - found.opened > _MAX_AGE_S:
            found = self._open = _Open(self.new(), loop)
            found.watch = loop.create_task(self._watch(found))
        return found

    def new(self) -> Any:
        """Open a channel of one's own; it is an asynchronous context manager."""
        from jina.serve.networking.utils import get_grpc_channel

        return get_grpc_channel(self._address, _OPTIONS, asyncio=True, tls=self._tls)

    async def close(self) -> None:
        """Close the channel, if one is open."""
        found, self._open = self._open, None
        if found is not None and found.loop is asyncio.get_running_loop():
            await found.channel.close()

    async def _watch(self, channel: _Open) -> None:
        try:
            while channel.users or (
                self._open is channel and time.monotonic() - channel.used < _IDLE_S
            ):
                await asyncio.sleep(_IDLE_S / 4)
        finally:  # cancelled where the loop ends
            if self._open is channel:
                self._open = None
            await channel.channel.close()


class _Open:
    """A channel that is open, and who is at it."""

    def __init__(self, channel: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.channel, self.loop = channel, loop
        self.opened = self.used = time.monotonic()
        self.users = 0
        self.watch: asyncio.Task[None] | None = None
