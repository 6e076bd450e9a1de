"""A run in a cancel scope of anyio, as web frameworks have it: cleaned up without a busy loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from kaygraph import AsyncNode, BaseNode, Graph, Node, ParallelBatchNode, settle
from kaygraph.aio.tasks import outlast

pytestmark = pytest.mark.anyio

TURNS = 200  # of the loop, while the clean-up goes on
DELIVERIES = 8  # that a run may take until its waits are shielded: a few for each wait


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Work:
    """An ``exec`` that is cancelled and whose clean-up ends when it may."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_end_in_thread = threading.Event()
        self.ended = 0

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()
            self.ended += 1

    def end(self) -> None:
        self.may_end.set()
        self.may_end_in_thread.set()


def batch(work: Work) -> BaseNode[Any, Any]:
    class Batch(ParallelBatchNode[int, None]):
        def prep(self, shared: Any, /) -> range:
            return range(2)

        async def exec(self, item: int, /) -> None:
            await work()

    return Batch()


def branches(work: Work) -> Graph:
    return Graph([batch(work), AsyncNode(name="other")])


def group(work: Work) -> BaseNode[Any, Any]:
    return settle(batch(work), AsyncNode(name="other"))


def pipeline(work: Work) -> BaseNode[Any, Any]:
    return Graph(batch(work) | AsyncNode(name="behind"))


def thread(work: Work) -> BaseNode[Any, Any]:
    loop = asyncio.get_running_loop()

    class Thread(Node[None, None]):
        def exec(self, prep_res: None, /) -> None:
            loop.call_soon_threadsafe(work.begun.set)
            work.may_end_in_thread.wait()
            work.ended += 1

    return Thread()


def lifespan(work: Work) -> BaseNode[Any, Any]:
    class Holder(AsyncNode[None, None]):
        @asynccontextmanager
        async def lifespan(self, shared: Any, /) -> AsyncGenerator[None, None]:
            try:
                yield
            finally:
                await work.may_end.wait()
                work.ended += 1

        async def exec(self, prep_res: None, /) -> None:
            work.begun.set()
            await asyncio.Event().wait()

    return Holder()


async def run_async(node: BaseNode[Any, Any]) -> None:
    await node.run_async()


async def launch(node: BaseNode[Any, Any]) -> None:
    await node.launch()


async def stream(node: Any) -> None:
    async with aclosing(node.stream()) as outcomes:
        async for _ in outcomes:
            pass


async def most_deliveries(work: Work, running: Callable[[], Awaitable[None]]) -> int:
    """Cancel what runs by its anyio scope; return how often it was before its clean-up may end."""

    async def cancelled() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await running()
        assert scope.cancelled_caught

    scopes: list[anyio.CancelScope] = []
    task = asyncio.create_task(cancelled())
    await work.begun.wait()
    scopes[0].cancel()
    for _ in range(TURNS):
        await asyncio.sleep(0)
    deliveries = task.cancelling()
    assert not work.ended
    work.end()
    await task
    assert work.ended
    return deliveries


@pytest.mark.parametrize(
    ("shape", "way"),
    [
        (batch, run_async),
        (branches, run_async),
        (group, run_async),
        (pipeline, run_async),
        (thread, run_async),
        (lifespan, run_async),
        (batch, launch),
        (batch, stream),
    ],
)
async def test_a_clean_up_is_waited_for_without_a_turn_of_the_loop(
    shape: Callable[[Work], BaseNode[Any, Any]],
    way: Callable[[BaseNode[Any, Any]], Awaitable[None]],
) -> None:
    """The scope does not cancel the run at every turn, and takes what comes out as its own."""
    work = Work()
    node = shape(work)
    assert await most_deliveries(work, lambda: way(node)) <= DELIVERIES


async def test_a_native_cancellation_passes_the_scope_that_was_cancelled_before() -> None:
    """Both are waited through; the task that was cancelled itself ends so."""

    async def scoped() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await outlast([future])

    scopes: list[anyio.CancelScope] = []
    future = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(scoped())
    await asyncio.sleep(0)
    scopes[0].cancel()
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    future.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_shielded_ends_with_the_wait() -> None:
    """The scope cancels what comes after, as ever."""
    with anyio.CancelScope() as scope:
        future = asyncio.get_running_loop().create_future()
        scope.cancel()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        with pytest.raises(asyncio.CancelledError):
            await outlast([future])
        await asyncio.Event().wait()
    assert scope.cancelled_caught
