"""Posts share a channel, but not for ever, and never one that failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import grpc
import grpc.aio
import pytest

from colpali_serve.client import channels
from colpali_serve.client.channels import Channels


class Peer(grpc.GenericRpcHandler):
    """Answers every call with where its connection comes from; a call of `/fail` fails."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def answer(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
            if details.method == "/fail":
                await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            return context.peer().encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def serving() -> AsyncIterator[Channels]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Peer(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    found = Channels(f"127.0.0.1:{port}", tls=False)
    try:
        yield found
    finally:
        await found.close()
        await server.stop(None)


async def peer(found: Channels, method: str = "/ask") -> str:
    async with found.borrowed() as channel:
        answer: bytes = await channel.unary_unary(method)(b"", timeout=10)
        return answer.decode()


def tried(work: Callable[[Channels], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serving() as found:
            await work(found)

    asyncio.run(main())


def test_posts_share_a_channel() -> None:
    async def work(found: Channels) -> None:
        first = await peer(found)
        assert {await peer(found), *await asyncio.gather(peer(found), peer(found))} == {first}

    tried(work)


def test_a_channel_that_failed_is_not_used_again() -> None:
    async def work(found: Channels) -> None:
        first = await peer(found)
        with suppress(grpc.aio.AioRpcError):
            await peer(found, "/fail")
        assert await peer(found) != first

    tried(work)


def test_posts_beside_one_that_fails_are_finished() -> None:
    async def work(found: Channels) -> None:
        async with found.borrowed() as channel:
            with suppress(grpc.aio.AioRpcError):
                await peer(found, "/fail")
            assert await channel.unary_unary("/ask")(b"", timeout=10)

    tried(work)


@pytest.mark.parametrize("limit", ["_IDLE_S", "_MAX_AGE_S"])
def test_an_idle_channel_is_closed_and_an_old_one_replaced(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, limit, 0.02)

    async def work(found: Channels) -> None:
        first = await peer(found)
        await asyncio.sleep(0.2)
        assert await peer(found) != first

    tried(work)


def test_a_closed_client_opens_another_channel() -> None:
    async def work(found: Channels) -> None:
        first = await peer(found)
        await found.close()
        assert await peer(found) != first

    tried(work)


def test_a_channel_of_another_loop_is_left_alone() -> None:
    found = Channels("127.0.0.1:1", tls=False)

    async def opened() -> object:
        async with found.borrowed() as channel:
            return channel

    first = asyncio.run(opened())
    assert asyncio.run(opened()) is not first
