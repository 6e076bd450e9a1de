"""B9: items through stages of 64 workers each; one operation is one item, from end to end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

from benchmarks.harness import Case
from kaygraph import Graph, Node, ParallelBatchNode, Pipeline

BUFFER = 64
STAGES = 3
WORKERS = 64
END = object()


class Numbers(Node[Any, Any]):
    """The source."""

    def prep(self, shared: Any) -> Iterable[int]:
        return range(shared["n"])


class Pass(ParallelBatchNode[int, int]):
    """A stage that does nothing."""

    max_workers = WORKERS

    async def exec(self, item: int) -> int:
        return item


class Suspend(ParallelBatchNode[int, int]):
    """A stage whose items suspend once."""

    max_workers = WORKERS

    async def exec(self, item: int) -> int:
        await asyncio.sleep(0)
        return item


async def passed(item: int) -> int:
    return item


async def suspended(item: int) -> int:
    await asyncio.sleep(0)
    return item


def cases(size: int) -> Iterator[Case]:
    yield case(
        "B9", "items that do nothing", 0.5, 50_000 // size, passed, lambda: [Pass(), Pass(), Pass()]
    )
    yield case(
        "B9-suspends",
        "items that suspend once in each",
        1.5,
        20_000 // size,
        suspended,
        lambda: [Suspend(), Suspend(), Suspend()],
    )


def case(
    name: str,
    what: str,
    target: float,
    operations: int,
    work: Callable[[int], Awaitable[int]],
    stages: Callable[[], list[Any]],
) -> Case:
    graph = Graph(Pipeline(Numbers(), *stages(), buffer=BUFFER, collect=False))

    async def ours() -> None:
        await graph.run_async({"n": operations})

    return Case(
        name=name,
        what=f"{STAGES} stages of {WORKERS} workers, {what}, against a queue for each",
        operations=operations,
        floor=lambda: by_hand(operations, work),
        ours=ours,
        target=target,
    )


async def by_hand(operations: int, work: Callable[[int], Awaitable[int]]) -> None:
    """A queue before each stage, and behind the last."""
    queues: list[asyncio.Queue[Any]] = [asyncio.Queue(BUFFER) for _ in range(STAGES + 1)]

    async def source() -> None:
        for number in range(operations):
            await queues[0].put(number)
        await queues[0].put(END)

    async def stage(inbox: asyncio.Queue[Any], outbox: asyncio.Queue[Any]) -> None:
        async def worker() -> None:
            while (item := await inbox.get()) is not END:
                await outbox.put(await work(item))
            await inbox.put(END)  # for the others

        async with asyncio.TaskGroup() as workers:
            for _ in range(WORKERS):
                workers.create_task(worker())
        await outbox.put(END)

    async with asyncio.TaskGroup() as group:
        group.create_task(source())
        for inbox, outbox in pairwise(queues):
            group.create_task(stage(inbox, outbox))
        total = 0
        while (item := await queues[-1].get()) is not END:
            total += item
    assert total == sum(range(operations))
