"""Requests of a stream are taken when there is room for them, and not looked for meanwhile."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jina.logging.logger import JinaLogger
from jina.serve.stream import RequestStreamer

from colpali_serve.gateway.handler import GuardedRequestHandler
from colpali_serve.gateway.turns import END, Turns


async def numbers(count, read):
    for number in range(count):
        read.append(number)
        yield number


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


def taking(turns):
    """Take what there is in a task; the list fills up as it comes."""
    taken = []

    async def take():
        async for one in turns.taken():
            taken.append(one)

    return SimpleNamespace(task=asyncio.ensure_future(take()), taken=taken)


@given(count=st.integers(0, 9), most=st.integers(1, 5), ordered=st.booleans())
def test_no_more_are_taken_than_have_room(count, most, ordered):
    async def run():
        read = []
        turns = Turns(numbers(count, read), most, ordered)
        take = taking(turns)
        for answered in range(count):
            await settled()
            assert len(read) == min(count, answered + most)
            turns.answered()
        await asyncio.wait_for(take.task, 5)
        assert take.taken == [*range(count), *([END] if ordered else [])]

    asyncio.run(run())


@pytest.mark.parametrize("most", [0, -1])
def test_without_a_bound_all_are_taken(most):
    async def run():
        take = taking(Turns(numbers(100, []), most, ordered=False))
        await asyncio.wait_for(take.task, 5)
        assert take.taken == list(range(100))

    asyncio.run(run())


@pytest.mark.parametrize("ordered", [True, False])
def test_closing_ends_the_waiting_and_says_nothing_more(ordered):
    async def run():
        read = []
        turns = Turns(numbers(9, read), 2, ordered)
        take = taking(turns)
        await settled()
        turns.close()
        await asyncio.wait_for(take.task, 5)
        assert take.taken == read == [0, 1]

    asyncio.run(run())


@pytest.mark.parametrize("prefetch", [0, 1, 2, 9])
def test_nothing_runs_on_when_the_caller_of_a_full_stream_left(prefetch):
    async def run():
        under_way = []

        def carry(request, return_type):
            under_way.append(asyncio.get_running_loop().create_future())
            return under_way[-1], None

        inner = RequestStreamer(carry, lambda result: result, prefetch=prefetch)
        handler = GuardedRequestHandler.__new__(GuardedRequestHandler)
        handler.logger = JinaLogger("test")
        handler.streamer = SimpleNamespace(_streamer=inner, rpc_stream=inner.stream)
        responses = handler.stream(numbers(8, []))
        first = asyncio.ensure_future(anext(responses))
        await settled()
        assert len(under_way) == min(prefetch or 8, 8)
        under_way[0].set_result("done")
        assert await first == "done"
        await responses.aclose()
        await settled()
        # Jina's own task that waits for floating Executors is all that it leaves, and it sleeps.
        left = {task.get_coro().__name__ for task in asyncio.all_tasks()} - {"run"}
        assert left <= {"handle_floating_responses"}

    asyncio.run(run())
