"""W3t: a task per item behind a semaphore, against workers that pull, and against kaygraph."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from benchmarks.b08_fan_out import LIMIT, Items, Suspended, growth, pulling_workers
from benchmarks.harness import Benchmark, Case, Figure
from kaygraph import Graph


def cases(size: int) -> Iterator[Benchmark]:
    yield from fan_outs(10_000 // size, Items(), "W3t", "items that do nothing")
    yield from fan_outs(10_000 // size, Suspended(), "W3ts", "items that suspend once")
    yield Figure(
        name="W3t-memory",
        what="KiB an item that a task for each adds, above a batch",
        measure=lambda: memory(100_000 // size),
        target=0.5,
        unit="KiB",
        at_least=True,
    )


async def task_per_item(
    function: Callable[[Any], Awaitable[Any]], items: Iterable[Any], limit: int
) -> list[Any]:
    """The usual way: everything starts, and nearly all of it waits for its turn."""
    semaphore = asyncio.Semaphore(limit)

    async def bounded(item: Any) -> Any:
        async with semaphore:
            return await function(item)

    return await asyncio.gather(*[bounded(item) for item in items])


def fan_outs(operations: int, node: Items, name: str, what: str) -> Iterator[Case]:
    """Workers that pull and kaygraph, as shares of the time of a task per item."""
    graph = Graph(node)
    expected = list(range(operations))

    async def tasks() -> None:
        assert await task_per_item(node.exec, range(operations), LIMIT) == expected

    async def workers() -> None:
        assert await pulling_workers(node.exec, range(operations), LIMIT) == expected

    async def kaygraph() -> None:
        shared: dict[str, Any] = {"n": operations}
        await graph.run_async(shared)
        assert shared["results"] == expected

    for side, ours in (("workers", workers), ("kaygraph", kaygraph)):
        yield Case(
            name=f"{name}-{side}",
            what=f"{what}: {side}, against a task for each",
            operations=operations,
            floor=tasks,
            ours=ours,
            target=0.25,
            rehearsed=True,
        )


async def waiting_tasks(operations: int) -> None:
    await task_per_item(Items().exec, range(operations), LIMIT)


def memory(operations: int) -> tuple[float, dict[str, Any]]:
    """What a task per item holds in memory while it waits, and a batch does not."""
    tasks = growth("benchmarks.w3_task_per_item:waiting_tasks", operations)
    batch = growth("benchmarks.b08_fan_out:batch", operations)
    return (tasks - batch) * 1024 / operations, {"tasks MiB": tasks, "batch MiB": batch}
