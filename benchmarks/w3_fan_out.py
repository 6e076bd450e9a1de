"""W3 and W5: many items, a hundred or two at once, against workers that pull."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from benchmarks.harness import compare, emit, seconds
from kaygraph import Graph, ParallelBatchNode

LIMIT = 100
SLEEPERS, DELAY_S = 200, 0.005


async def pulling_workers(
    function: Callable[[Any], Awaitable[Any]], items: Iterable[Any], limit: int
) -> list[Any]:
    """The floor: ``limit`` workers pull from one iterator; results by index."""
    listed = list(items)
    results: list[Any] = [None] * len(listed)
    numbered = iter(enumerate(listed))

    async def worker() -> None:
        for index, item in numbered:
            results[index] = await function(item)

    await asyncio.gather(*[worker() for _ in range(min(limit, len(listed)))])
    return results


class Items(ParallelBatchNode[int, int]):
    """Takes ``range(shared["n"])`` and keeps the results."""

    max_workers = LIMIT

    def prep(self, shared: Any) -> Iterable[int]:
        return range(shared["n"])

    async def exec(self, prep_res: int) -> int:
        return prep_res

    def post(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
        shared["results"] = exec_res


class Suspended(Items):
    """Every item costs the loop one trip."""

    async def exec(self, prep_res: int) -> int:
        await asyncio.sleep(0)
        return prep_res


class Sleepers(Items):
    """Every item waits 5 ms."""

    max_workers = SLEEPERS

    async def exec(self, prep_res: int) -> int:
        await asyncio.sleep(DELAY_S)
        return prep_res


async def fan_out(operations: int, node: Items, name: str, what: str, target: str) -> None:
    """One operation is one item."""
    graph = Graph(node)

    async def floor() -> None:
        await pulling_workers(node.exec, range(operations), LIMIT)

    async def ours() -> None:
        shared = {"n": operations}
        await graph.run_async(shared)
        assert shared["results"] == list(range(operations))  # type: ignore[comparison-overlap]

    await compare(name, what, operations, floor, ours, target)


async def sleepers(operations: int) -> None:
    """2,000 items of 5 ms, 200 at once: the ideal time over the measured time."""
    node = Sleepers()
    graph = Graph(node)
    ideal = operations / SLEEPERS * DELAY_S

    async def ours() -> None:
        await graph.run_async({"n": operations})

    async def floor() -> None:
        await pulling_workers(node.exec, range(operations), SLEEPERS)

    await ours()
    pairs = sorted([(await seconds(floor), await seconds(ours)) for _ in range(5)])
    floors, times = sorted(f for f, _ in pairs), sorted(o for _, o in pairs)
    emit(
        "W5",
        "items of 5 ms, 200 at once: ideal / measured",
        operations=operations,
        floor=round(ideal / floors[2], 3),
        ratio=round(ideal / times[2], 3),
        target=">= 0.80",
    )


def memory(operations: int, target: str) -> None:
    """RSS growth in MiB over a batch, in a process of its own (Linux only)."""
    emit("W3 memory", "MiB that a batch adds", operations=operations,
         ratio=growth("benchmarks.w3_fan_out:batch", operations), target=target)  # fmt: skip


async def batch(operations: int) -> None:
    await Graph(Items()).run_async({"n": operations})


def growth(function: str, operations: int) -> float:
    """Return by how many MiB a call of ``module:function`` grows a process of its own."""
    module, _, name = function.partition(":")
    code = f"from benchmarks.w3_fan_out import grow; from {module} import {name} as run"
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}; print(grow(run, {operations}))"],
        capture_output=True,
        check=True,
        text=True,
    )
    return float(answer.stdout)


def grow(run: Callable[[int], Coroutine[Any, Any, Any]], operations: int) -> float:
    """Return by how many MiB the peak of the resident memory grows."""
    asyncio.run(run(200))
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak counts from here
        before = _status("VmRSS")
        asyncio.run(run(operations))
        return round(_status("VmHWM") - before, 1)
    except OSError:
        return float("nan")


def _status(key: str) -> float:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(f"{key}:"))
