"""Once the error of a run is handled, no cycle keeps alive what the run had in its hands."""

import asyncio
import gc
import multiprocessing
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    BatchGraph,
    BatchNode,
    CircuitBreaker,
    Graph,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    RateLimit,
    Retry,
    all_of,
    compat,
    first_of,
    settle,
)
from kaygraph.patterns import RaceNode

pytestmark = pytest.mark.anyio

STUCK_S = 60.0


class Store(dict[str, Any]):
    """A shared store that can be watched."""


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int = 1


class Fails(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(0)
        raise ValueError


class FailsFrozen(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(0)
        raise FrozenError


class FailsInThread(Node[Any, Any]):
    def exec(self, _: Any) -> None:
        raise ValueError


class Stuck(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(STUCK_S)


class AwaitsInVain(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        other = asyncio.ensure_future(asyncio.sleep(STUCK_S))
        other.cancel()
        await other


class Source(Node[Any, Any]):
    def prep(self, _: Any) -> range:
        return range(5)


class Many(ParallelBatchNode[Any, Any]):
    """The item 3 fails."""

    def prep(self, shared: Any) -> Any:
        return range(20)

    async def exec(self, item: int) -> int:
        if item == 3:
            raise ValueError(item)
        await asyncio.sleep(0)
        return item

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


class ManyFail(Many):
    async def exec(self, item: int) -> int:
        await asyncio.sleep(0)
        raise ValueError(item)


class ManyStuck(Many):
    async def exec(self, item: int) -> int:
        await asyncio.sleep(STUCK_S)
        return item


class ManyInThreads(Many):
    def exec(self, item: int) -> int:  # type: ignore[override]
        if item == 3:
            raise ValueError(item)
        return item


class OneByOne(BatchNode[Any, Any]):
    def prep(self, shared: Any) -> range:
        return range(20)

    async def exec(self, item: int) -> int:
        if item == 3:
            raise ValueError(item)
        return item


class Yields(ParallelBatchNode[Any, Any]):
    def prep(self, shared: Any) -> range:
        return range(5)

    async def exec(self, item: int) -> AsyncIterator[int]:
        yield item
        raise ValueError(item)


class BrokenSource(Many):
    def prep(self, shared: Any) -> Iterator[int]:
        yield 1
        raise ValueError


class BrokenAsyncSource(Many):
    async def prep(self, shared: Any) -> AsyncIterator[int]:
        yield 1
        raise ValueError


class FailsInPrep(AsyncNode[Any, Any]):
    async def prep(self, shared: Any) -> None:
        kept = shared["big"]
        raise ValueError(kept)


class FailsInFallback(Fails):
    async def exec_fallback(self, _: Any, exc: Exception) -> None:
        raise KeyError


class FailsWithLifespan(Fails):
    @asynccontextmanager
    async def lifespan(self, shared: Any) -> AsyncIterator[None]:
        yield


class Handles(AsyncNode[Any, Any]):
    def prep(self, shared: Any) -> None:
        shared["error"] = self.error


class KeepsOutcomes(AsyncNode[Any, Any]):
    def post(self, shared: Any, *_: Any) -> None:
        shared["outcomes"] = self.outcomes


class Lost(AsyncNode[Any, Any]):
    def post(self, *_: Any) -> str:
        return "aprove"


class Converts(AsyncNode[Any, Any]):
    async def exec(self, _: Any) -> None:
        try:
            await asyncio.sleep(STUCK_S)
        except asyncio.CancelledError:
            raise OSError("as drivers do") from None


class RunsAnother(AsyncNode[Any, Any]):
    async def exec(self, _: Any) -> None:
        await Graph(Fails()).run_async({})


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> Any:
        return [{}] * 3


class MapFails(MapReduceNode):
    def prep(self, shared: Any) -> range:
        return range(5)

    async def map(self, item: int) -> Any:
        raise ValueError


class ReduceFails(MapFails):
    async def map(self, item: int) -> Any:
        return [(item, item)]

    async def reduce(self, key: int, values: Any) -> Any:
        raise ValueError


class Compatible(compat.AsyncNode):
    async def exec_async(self, _: Any) -> None:
        raise ValueError


class CompatibleMany(compat.AsyncParallelBatchNode):
    async def prep_async(self, _: Any) -> list[int]:
        return [1, 2, 3]

    async def exec_async(self, _: Any) -> None:
        raise ValueError


async def fails(_: Any) -> None:
    await asyncio.sleep(0)
    raise ValueError


def routed() -> Graph:
    node = Fails()
    node - "error" >> Handles()
    return Graph(node)


def lost() -> Graph:
    node = Lost()
    node - "approve" >> AsyncNode()
    return Graph([node, Stuck()])


def breaker() -> CircuitBreaker:
    return CircuitBreaker(failures=2, reset_after=60)


OFTEN = Retry(attempts=99, wait=0.002)
NOW = 0.01

NODES: dict[str, Callable[[], Any]] = {
    "node": Fails,
    "retries": lambda: Fails(max_retries=3),
    "all limits": lambda: Fails(max_retries=3, timeout=9, deadline=9, rate=RateLimit(100)),
    "timeout": lambda: Stuck(timeout=NOW),
    "deadline": lambda: Stuck(deadline=NOW),
    "deadline of attempts": lambda: Fails(retry=OFTEN, deadline=NOW),
    "breaker": lambda: Fails(max_retries=5, breaker=breaker()),
    "frozen error": FailsFrozen,
    "prep": FailsInPrep,
    "fallback": FailsInFallback,
    "lifespan": FailsWithLifespan,
    "awaited cancellation": AwaitsInVain,
    "run within": RunsAnother,
    "thread": FailsInThread,
    "thread, retries": lambda: FailsInThread(max_retries=2, timeout=9),
    "graph": lambda: Graph(AsyncNode() >> Fails()),
    "nested graph": lambda: Graph(Graph(Fails())),
    "fork": lambda: Graph([Fails(), Stuck()]),
    "fork, all fail": lambda: Graph([Fails(), FailsFrozen()]),
    "fork, one in a thread": lambda: Graph([FailsInThread(), AsyncNode()]),
    "fork, observed steps": lambda: Graph([Fails(), Fails()], slow_hook_s=9),
    "fork, unknown action": lost,
    "fork, converted cancellation": lambda: Graph([Converts(), Fails()]),
    "error route": routed,
    "graph deadline": lambda: Graph(Stuck(), deadline=NOW),
    "graph deadline, fork": lambda: Graph([Stuck(), Fails(retry=OFTEN)], deadline=NOW),
    "graph deadline, converted": lambda: Graph(Converts(), deadline=NOW),
    "batch": Many,
    "batch, all fail": ManyFail,
    "batch, one by one": OneByOne,
    "batch, one by one, collected": lambda: OneByOne(on_error="collect"),
    "batch, settings": lambda: Many(max_retries=2, limit_by=lambda item: item % 2),
    "batch, auto": lambda: Many(max_workers="auto"),
    "batch, collected": lambda: Many(on_error="collect"),
    "batch, collected with settings": lambda: ManyFail(on_error="collect", max_retries=2),
    "batch, skipped": lambda: ManyFail(on_error="skip"),
    "batch, too many": lambda: ManyFail(on_error=2),
    "batch, too large a share": lambda: ManyFail(on_error=0.2),
    "batch, timeouts": lambda: ManyStuck(timeout=NOW, max_retries=2),
    "batch, timeouts collected": lambda: ManyStuck(timeout=NOW, on_error="collect"),
    "batch, too many timeouts": lambda: ManyStuck(timeout=NOW, on_error=2),
    "batch deadline": lambda: ManyStuck(batch_deadline=NOW),
    "batch, threads": ManyInThreads,
    "batch, threads collected": lambda: ManyInThreads(on_error="collect", max_retries=2),
    "batch, yielded": Yields,
    "source": BrokenSource,
    "async source": BrokenAsyncSource,
    "pipeline": lambda: Source() | Fails(),
    "pipeline, parallel": lambda: Source() | AsyncNode() | ManyFail() | AsyncNode(),
    "pipeline, collected": lambda: Source() | ManyFail(on_error="collect"),
    "pipeline, too many": lambda: Source() | ManyFail(on_error=2),
    "pipeline, yielded": lambda: Source() | Yields(),
    "settle": lambda: Graph(settle(Fails(), Fails()) >> KeepsOutcomes()),
    "first_of": lambda: first_of(Fails(), Fails()),
    "first_of, one wins": lambda: first_of(Fails(), AsyncNode()),
    "all_of": lambda: all_of(Fails(), Stuck()),
    "rounds": lambda: Rounds(Fails()),
    "rounds at once": lambda: Rounds(Fails(), max_workers=3),
    "rounds, collected": lambda: Rounds(Fails(), on_error="collect"),
    "map": MapFails,
    "reduce": ReduceFails,
    "pattern": lambda: RaceNode(fails, fails),
    "compat": lambda: compat.AsyncFlow(start=Compatible()),
    "compat, batch": lambda: compat.AsyncFlow(start=CompatibleMany()),
}

# Runs that keep an error. Since Python 3.12 the frame of a coroutine that has ended
# knows its caller: where that is not its own task, the error leads to the caller of the run, who
# has the shared store, in which it is kept.
LEADS_TO_ITS_CALLER = {"error route", "batch, one by one, collected", "rounds, collected"}

Run = Callable[[Any, Store], Awaitable[Any]]


async def run_async(node: Any, shared: Store) -> None:
    await node.run_async(shared)


async def observed(node: Any, shared: Store) -> None:
    await node.run_async(shared, observers=[lambda event: None])


async def launch(node: Any, shared: Store) -> None:
    await node.launch(shared)


async def with_deadline(node: Any, shared: Store) -> None:
    await node.run_async(shared, deadline=0.001)


async def in_task(node: Any, shared: Store) -> None:
    await asyncio.create_task(node.run_async(shared))


async def cancelled(node: Any, shared: Store) -> None:
    task = asyncio.create_task(node.run_async(shared))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    finally:
        del task  # an error knows this frame, which knows the task


async def drained(node: Any, shared: Store) -> None:
    run = node.launch(shared)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    run.drain(grace=0.001)
    try:
        await run
    finally:
        del run  # an error knows this frame, which knows the task


async def streamed(node: Any, shared: Store) -> None:
    async for _ in node.stream(shared):
        pass


async def run(node: Any, shared: Store) -> None:
    with ThreadPoolExecutor(1) as threads:
        await asyncio.wrap_future(threads.submit(node.run, shared))


async def left_by(node: Any, way: Run, executor: Executor | None = None) -> tuple[bool, int]:
    """Run; return whether what stood in the shared store is alive, and the objects in cycles.

    The worker of an executor may know a call until it takes up the next one.
    """

    async def play() -> weakref.ref[Any]:
        big = Many()
        shared = Store(big=big)
        with suppress(Exception):
            await way(node, shared)
        return weakref.ref(big)

    await play()  # what is made once, such as the phases of a node, is no litter
    gc.collect()
    gc.disable()
    try:
        watched = await play()
        for _ in range(3):
            await asyncio.sleep(0)
        if executor is not None:
            await asyncio.wrap_future(executor.submit(int))
        return watched() is not None, gc.collect()
    finally:
        gc.enable()


@pytest.mark.parametrize("name", NODES)
async def test_a_failed_run_leaves_nothing_to_the_garbage_collector(name: str) -> None:
    """Neither the shared store nor anything else of it."""
    if name in LEADS_TO_ITS_CALLER and sys.version_info >= (3, 12):
        pytest.skip("an error that is kept keeps the frames of its callers")
    assert await left_by(NODES[name](), run_async) == (False, 0)


async def out_of_grace(node: Any, shared: Store) -> None:
    """What is in flight is cancelled, and some of it has failed by then."""
    run = node.launch(shared)
    for _ in range(3):
        await asyncio.sleep(0)
    run.drain(grace=1e-9)
    time.sleep(1e-3)  # noqa: ASYNC251 - the grace is over when the loop has its next turn
    try:
        await run
    finally:
        del run


WAYS = (observed, launch, with_deadline, in_task, cancelled, drained, out_of_grace, run)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["node", "fork", "batch, all fail", "pipeline, parallel"])
async def test_nor_does_it_however_it_was_begun_and_ended(name: str, way: Run) -> None:
    """Also in a task that has the error as its result."""
    assert await left_by(NODES[name](), way) == (False, 0)


@pytest.mark.parametrize("name", ["batch", "batch, collected", "pipeline"])
async def test_nor_does_a_stream(name: str) -> None:
    """Its generator is gone with its reader."""
    assert await left_by(NODES[name](), streamed) == (False, 0)


async def test_nor_does_an_error_of_a_process() -> None:
    """What comes back from there has no frames of its own."""
    assert await left_by(FailsInThread(run_in="process"), run_async) == (False, 0)


SPAWNED = partial(ProcessPoolExecutor, mp_context=multiprocessing.get_context("spawn"))


class GetsALock(FailsInThread):
    """Its item cannot be sent to a process."""

    def prep(self, _: Any) -> Any:
        return threading.Lock()


@pytest.mark.parametrize("kind", [FailsInThread, GetsALock])
@pytest.mark.parametrize("pool", [ThreadPoolExecutor, SPAWNED], ids=["threads", "processes"])
async def test_nor_does_an_error_of_an_executor(kind: type[FailsInThread], pool: Any) -> None:
    """Its future holds the error, or what came back instead of one."""
    with pool(1) as executor:
        assert await left_by(kind(run_in=executor), run_async, executor) == (False, 0)


def test_nor_does_a_run_in_the_main_thread() -> None:
    """Its loop is closed, and its signals are as they were."""

    def play() -> weakref.ref[Any]:
        big = Many()
        shared = Store(big=big)
        with suppress(Exception):
            Graph([Fails(), Fails()]).run(shared)
        return weakref.ref(big)

    play()
    gc.collect()
    gc.disable()
    try:
        assert play()() is None
    finally:
        gc.enable()
