"""W6: items through three stages with bounded buffers, and items that become many."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import pairwise
from typing import Any

from benchmarks.b08_fan_out import growth
from benchmarks.harness import Benchmark, Case, Figure
from kaygraph import Graph, Node, ParallelBatchNode, Pipeline

BUFFER = 64
STAGES = 3
END = object()


def cases(size: int) -> Iterator[Benchmark]:
    yield stream(100_000 // size)
    count = 400_000 // size
    yield one_to_many(count, Many(), "W6y", "values that one item yields", 5)
    yield one_to_many(count, ManyInThread(), "W6y-thread", "the same from a thread", 12)
    items = 10_000_000 // size
    yield Figure(
        name="B18-pipeline",
        what=f"what a pipeline of {items:,} items adds, none of them kept",
        measure=lambda: (growth("benchmarks.w6_stream:endless", items), {}),
        target=1.0,
        unit="MiB",
    )


class Numbers(Node[Any, Any]):
    """The source."""

    def prep(self, shared: Any) -> Iterable[int]:
        return range(shared["n"])


class Pass(Node[int, int]):
    """A stage that does nothing."""

    async def exec(self, prep_res: int) -> int:
        return prep_res


class PassMany(ParallelBatchNode[int, int]):
    """The same with several workers."""

    async def exec(self, item: int) -> int:
        return item


async def nothing(item: int) -> int:
    return item


def stream(operations: int) -> Case:
    """One operation is one item, from end to end."""
    pipeline = Pipeline(Numbers(), *(Pass() for _ in range(STAGES)), buffer=BUFFER)
    graph = Graph(pipeline)

    async def floor() -> None:
        queues: list[asyncio.Queue[Any]] = [asyncio.Queue(BUFFER) for _ in range(STAGES + 1)]

        async def source() -> None:
            for number in range(operations):
                await queues[0].put(number)
            await queues[0].put(END)

        async def stage(inbox: asyncio.Queue[Any], outbox: asyncio.Queue[Any]) -> None:
            while (item := await inbox.get()) is not END:
                await outbox.put(await nothing(item))
            await outbox.put(END)

        async with asyncio.TaskGroup() as group:
            group.create_task(source())
            for inbox, outbox in pairwise(queues):
                group.create_task(stage(inbox, outbox))
            total = 0
            while (item := await queues[-1].get()) is not END:
                total += item
        assert total == sum(range(operations))

    async def ours() -> None:
        await graph.run_async({"n": operations})

    return Case(
        name="W6",
        what="3 stages, buffers of 64, against a queue for each",
        operations=operations,
        floor=floor,
        ours=ours,
        target=0.3,
    )


async def endless(operations: int) -> None:
    """Stages with one worker and with several, whose results are not kept."""
    stages = (Numbers(), Pass(), PassMany(max_workers=64), Pass())
    await Graph(Pipeline(*stages, buffer=BUFFER, collect=False)).run_async({"n": operations})


class One(Node[Any, Any]):
    """A source of one item."""

    def prep(self, shared: Any) -> list[int]:
        return [shared["n"]]


class Many(Node[int, int]):
    """Yields as many values as its item says."""

    async def exec(self, prep_res: int) -> AsyncIterator[int]:
        for number in range(prep_res):
            yield number


class ManyInThread(Node[int, int]):
    """The same in a thread."""

    def exec(self, prep_res: int) -> Iterator[int]:
        yield from range(prep_res)


def one_to_many(operations: int, many: Node[Any, Any], name: str, what: str, target: float) -> Case:
    """One operation is one value that an item yields, and that the next stage takes."""
    graph = Graph(Pipeline(One(), many, Pass(), buffer=BUFFER, collect=False))

    async def floor() -> None:
        async for number in Many().exec(operations):
            await nothing(number)

    async def ours() -> None:
        await graph.run_async({"n": operations})

    return Case(name=name, what=what, operations=operations, floor=floor, ours=ours, target=target)
