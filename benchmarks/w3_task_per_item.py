"""W3t: a task for each item behind a semaphore, against workers that pull, and against kaygraph."""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Iterable
from statistics import median
from typing import Any

from benchmarks.harness import emit, interleaved
from benchmarks.w3_fan_out import LIMIT, Items, growth, pulling_workers
from kaygraph import Graph


async def task_per_item(
    function: Callable[[Any], Awaitable[Any]], items: Iterable[Any], limit: int
) -> list[Any]:
    """What is written most often: everything begins, and nearly all of it waits its turn."""
    semaphore = asyncio.Semaphore(limit)

    async def bounded(item: Any) -> Any:
        async with semaphore:
            return await function(item)

    return await asyncio.gather(*[bounded(item) for item in items])


async def fan_outs(operations: int, node: Items, name: str, what: str) -> None:
    """Three ways to do the same; one operation is one item."""
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

    rounds = await interleaved(tasks, workers, kaygraph, rehearsed=True)
    tasks_s, workers_s, kaygraph_s = (median(one) for one in zip(*rounds, strict=True))
    emit(
        name,
        what,
        operations=operations,
        python=platform.python_version(),
        tasks_us=round(tasks_s / operations * 1e6, 3),
        workers_us=round(workers_s / operations * 1e6, 3),
        kaygraph_us=round(kaygraph_s / operations * 1e6, 3),
        tasks_over_workers=round(median(t / w for t, w, _ in rounds), 1),
        tasks_over_kaygraph=round(median(t / k for t, _, k in rounds), 1),
    )


async def waiting_tasks(operations: int) -> None:
    await task_per_item(Items().exec, range(operations), LIMIT)


def memory(operations: int) -> None:
    """What a task for each item holds while it waits its turn, and a batch does not."""
    tasks = growth("benchmarks.w3_task_per_item:waiting_tasks", operations)
    batch = growth("benchmarks.w3_fan_out:batch", operations)
    emit(
        "W3t memory",
        "MiB that a task for each item adds, and a batch",
        operations=operations,
        tasks=tasks,
        batch=batch,
        kib_per_item=round((tasks - batch) * 1024 / operations, 2),
    )
