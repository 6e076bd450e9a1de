"""Runs of many shapes that keep a ledger of what they began and what has ended."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import wraps
from typing import Any

from kaygraph import (
    BaseNode,
    BatchGraph,
    Graph,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    first_of,
)
from kaygraph.limits.permits import Permits

CLEANING_S = 1.5


class Ledger:
    """What was begun and what has ended, and every permit of the run."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.cancelled = False  # set when the run is
        self.interrupted = 0  # how many clean-ups of a cancelled run did not come to their end
        self.permits: list[tuple[Permits, int]] = []

    @contextmanager
    def entry(self) -> Iterator[None]:
        self.begun += 1
        try:
            yield
        finally:
            self.ended += 1

    @asynccontextmanager
    async def tidy_entry(self) -> AsyncIterator[None]:
        """As ``entry``, with a ``finally`` that has to wait for something itself."""
        with self.entry():
            counts = False
            try:
                yield
            except asyncio.CancelledError:
                counts = self.cancelled
                raise
            finally:
                self.interrupted += counts
                await asyncio.sleep(CLEANING_S)
                self.interrupted -= counts

    def check(self, tasks: set[asyncio.Task[Any]], place: object) -> None:
        assert asyncio.all_tasks() == tasks, place
        assert self.begun == self.ended, place
        threads = [t.name for t in threading.enumerate() if t.name.startswith("kaygraph")]
        assert not threads, place
        for permits, size in self.permits:
            assert permits.free == size, place
            assert not any(not turn.done() for turn in permits.waiting), place


AnyNode = BaseNode[Any, Any]
Shape = Callable[[Ledger], Coroutine[Any, Any, Any]]


def launched(make: Callable[[Ledger], AnyNode]) -> Shape:
    """Make a run of what makes a node."""

    @wraps(make)
    def run(ledger: Ledger) -> Coroutine[Any, Any, Any]:
        return make(ledger).run_async({})

    return run


class Work(Node[Any, Any]):
    """Waits for a while, and again while it ends."""

    seconds = 1.0

    def __init__(self, ledger: Ledger, **settings: Any) -> None:
        super().__init__(**settings)
        self.ledger = ledger

    async def exec(self, item: Any) -> Any:
        async with self.ledger.tidy_entry():
            await asyncio.sleep(self.seconds)
        return item


class WorkMany(ParallelBatchNode[Any, Any]):
    max_workers = 2

    def __init__(self, ledger: Ledger, items: Any = range(5), **settings: Any) -> None:
        super().__init__(**settings)
        self.ledger, self.items = ledger, items

    def prep(self, _: Any) -> Any:
        return self.items() if callable(self.items) else self.items

    async def exec(self, item: Any) -> Any:
        async with self.ledger.tidy_entry():
            await asyncio.sleep(item % 3)
        return item


@launched
def chain(ledger: Ledger) -> AnyNode:
    return Graph(Work(ledger) >> Work(ledger) >> Work(ledger))


@launched
def diamond(ledger: Ledger) -> AnyNode:
    return Graph(Work(ledger) >> [Work(ledger), Work(ledger)] >> Work(ledger))


@launched
def batch(ledger: Ledger) -> AnyNode:
    def source() -> Iterator[int]:
        with ledger.entry():
            yield from range(5)

    return WorkMany(ledger, source)


@launched
def async_batch(ledger: Ledger) -> AnyNode:
    async def source() -> AsyncIterator[int]:
        with ledger.entry():
            for item in range(5):
                await asyncio.sleep(1)
                yield item

    return WorkMany(ledger, source)


@launched
def retry(ledger: Ledger) -> AnyNode:
    class Flaky(WorkMany):
        async def exec(self, item: Any) -> Any:
            await super().exec(item)
            if self.attempt < 3:
                raise ValueError(item)

    return Graph(Flaky(ledger, max_retries=3, wait=1), max_workers=1)


@launched
def timeout(ledger: Ledger) -> AnyNode:
    class Slow(Work):
        seconds = 100

        def exec_fallback(self, item: Any, _: Exception) -> Any:
            return item

    return Graph(Slow(ledger, timeout=2, deadline=5, max_retries=4, wait=1) >> Work(ledger))


@launched
def thread(ledger: Ledger) -> AnyNode:
    class InThread(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            with ledger.entry():
                pass

    return Graph(InThread() >> InThread())


@launched
def nested(ledger: Ledger) -> AnyNode:
    inner = Graph(Work(ledger) >> WorkMany(ledger), max_workers=2)
    return Graph([inner, WorkMany(ledger), Graph(WorkMany(ledger))], max_workers=1)


@launched
def rounds(ledger: Ledger) -> AnyNode:
    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"round": number} for number in range(4)]

    return Graph(Rounds(Work(ledger) >> WorkMany(ledger), max_workers=3), max_workers=2)


@launched
def group(ledger: Ledger) -> AnyNode:
    quick, slow = Work(ledger), Work(ledger) >> Work(ledger) >> Work(ledger)
    return Graph(first_of(quick, slow, WorkMany(ledger)) >> Work(ledger))


@launched
def pipeline(ledger: Ledger) -> AnyNode:
    def source() -> Iterator[int]:
        with ledger.entry():
            yield from range(7)

    class Read(Node[Any, Any]):
        def prep(self, _: Any) -> Any:
            return source()

    stages = Read() | WorkMany(ledger, ()) | WorkMany(ledger, (), max_workers=3) | Work(ledger)
    stages.buffer = 2
    return Graph(stages, max_workers=3)


@launched
def map_reduce(ledger: Ledger) -> AnyNode:
    class Count(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return range(5)

        async def map(self, item: int) -> Any:
            with ledger.entry():
                await asyncio.sleep(item % 2)
            return [(item % 3, item)]

        async def reduce(self, _: Any, values: list[int]) -> int:
            with ledger.entry():
                await asyncio.sleep(1)
            return sum(values)

    return Count(map_workers=2)


@launched
def lifespan(ledger: Ledger) -> AnyNode:
    class Holds(Work):
        @asynccontextmanager
        async def lifespan(self, _: Any) -> AsyncIterator[str]:
            async with ledger.tidy_entry():
                await asyncio.sleep(1)
                yield "open"

    return Graph(Holds(ledger) >> [Holds(ledger), Holds(ledger)])


async def batch_stream_left(ledger: Ledger) -> None:
    async with aclosing(WorkMany(ledger, range(9)).stream()) as outcomes:
        await anext(outcomes)
        await asyncio.sleep(2)
        await anext(outcomes)


async def pipeline_stream_left(ledger: Ledger) -> None:
    stages = WorkMany(ledger, range(9)) | Work(ledger)
    async with aclosing(stages.stream()) as results:
        await anext(results)
        await asyncio.sleep(3)
        await anext(results)


SHAPES: list[Shape] = [
    chain,
    diamond,
    batch,
    async_batch,
    retry,
    timeout,
    thread,
    nested,
    rounds,
    group,
    pipeline,
    map_reduce,
    lifespan,
    batch_stream_left,
    pipeline_stream_left,
]

# Those that are runs of one node: ``shape.__wrapped__(ledger)`` is the node.
OF_NODES = [
    chain, diamond, batch, async_batch, retry, timeout, thread, nested, rounds, group, pipeline,
    map_reduce, lifespan,
]  # fmt: skip
