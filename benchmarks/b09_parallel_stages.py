"""B9: items through stages of 64 workers each; one operation is one item, from end to end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
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
    nothing, suspending = 50_000 // size, 20_000 // size
    yield case("B9", Pass, 0.5, nothing, "a queue each", partial(by_hand, passed))
    yield case(
        "B9-one-reader", Pass, 0.5, nothing, "a queue with one reader each",
        partial(by_hand, passed, readers=1),
    )  # fmt: skip
    yield case("B9-suspends", Suspend, 1.5, suspending, "a queue each", partial(by_hand, suspended))
    yield case(
        "B9-suspends-one-queue", Suspend, 1.5, suspending, "one queue, all steps by each reader",
        partial(by_hand, in_three_steps, queues=1),
    )  # fmt: skip


def case(
    name: str,
    stage: type[Pass] | type[Suspend],
    target: float,
    operations: int,
    against: str,
    floor: Callable[[int], Awaitable[None]],
) -> Case:
    stages = [stage() for _ in range(STAGES)]
    graph = Graph(Pipeline(Numbers(), *stages, buffer=BUFFER, collect=False))

    async def ours() -> None:
        await graph.run_async({"n": operations})

    does = "do nothing" if stage is Pass else "suspend once in each"
    return Case(
        name=name,
        what=f"{STAGES} stages of {WORKERS} workers, items that {does}, against {against}",
        operations=operations,
        floor=lambda: floor(operations),
        ours=ours,
        target=target,
    )


async def in_three_steps(item: int) -> int:
    return await suspended(await suspended(await suspended(item)))


async def by_hand(
    work: Callable[[int], Awaitable[int]],
    operations: int,
    readers: int = WORKERS,
    queues: int = STAGES,
) -> None:
    """A queue before each stage, and behind the last."""
    line: list[asyncio.Queue[Any]] = [asyncio.Queue(BUFFER) for _ in range(queues + 1)]

    async def source() -> None:
        for number in range(operations):
            await line[0].put(number)
        await line[0].put(END)

    async def stage(inbox: asyncio.Queue[Any], outbox: asyncio.Queue[Any]) -> None:
        async def worker() -> None:
            while (item := await inbox.get()) is not END:
                await outbox.put(await work(item))
            await inbox.put(END)  # for the others

        async with asyncio.TaskGroup() as workers:
            for _ in range(readers):
                workers.create_task(worker())
        await outbox.put(END)

    async with asyncio.TaskGroup() as group:
        group.create_task(source())
        for inbox, outbox in pairwise(line):
            group.create_task(stage(inbox, outbox))
        total = 0
        while (item := await line[-1].get()) is not END:
            total += item
    assert total == sum(range(operations))
