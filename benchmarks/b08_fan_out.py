"""Many items, a hundred or two at once, against workers that pull."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from statistics import median
from typing import Any

from benchmarks.harness import ROUNDS, Benchmark, Case, Figure, seconds
from kaygraph import Graph, ParallelBatchNode

LIMIT = 100
SLEEPERS, DELAY_S = 200, 0.005


def cases(size: int) -> Iterator[Benchmark]:
    count = 10_000 // size
    yield fan_out(count, Items(), "B8-fan-out", "items that do nothing, 100 at once", 1.8)
    yield fan_out(count, Suspended(), "B8-suspends", "items that suspend once, 100 at once", 1.1)
    yield Figure(
        name="W5",
        what="items of 5 ms, 200 at once: ideal time / measured time",
        measure=lambda: sleepers(2_000),
        target=0.75,
        at_least=True,
    )
    yield memory("memory-100k", 100_000 // size, 10)
    yield memory("memory-1M", 1_000_000 // size, 60)


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


def fan_out(operations: int, node: Items, name: str, what: str, target: float) -> Case:
    """One operation is one item."""
    graph = Graph(node)

    async def floor() -> None:
        await pulling_workers(node.exec, range(operations), LIMIT)

    async def ours() -> None:
        shared = {"n": operations}
        await graph.run_async(shared)
        assert shared["results"] == list(range(operations))  # type: ignore[comparison-overlap]

    return Case(name=name, what=what, operations=operations, floor=floor, ours=ours, target=target)


def sleepers(operations: int) -> tuple[float, dict[str, Any]]:
    """Return the ideal time over the measured time, and that of bare workers."""
    node = Sleepers()
    graph = Graph(node)
    ideal = operations / SLEEPERS * DELAY_S

    async def ours() -> None:
        await graph.run_async({"n": operations})

    async def floor() -> None:
        await pulling_workers(node.exec, range(operations), SLEEPERS)

    with asyncio.Runner() as runner:
        seconds(ours, runner)
        pairs = [(seconds(floor, runner), seconds(ours, runner)) for _ in range(ROUNDS)]
    floors, times = zip(*pairs, strict=True)
    return ideal / median(times), {"bare workers": round(ideal / median(floors), 3)}


def memory(name: str, operations: int, target: float) -> Figure:
    """What a batch adds to the resident memory, in its own process (Linux only)."""
    return Figure(
        name=name,
        what=f"what a batch of {operations:,} items adds, results included",
        measure=lambda: (growth("benchmarks.b08_fan_out:batch", operations), {}),
        target=target,
        unit="MiB",
    )


async def batch(operations: int) -> None:
    await Graph(Items()).run_async({"n": operations})


def growth(function: str, operations: int) -> float:
    """Return by how many MiB a call of ``module:function`` grows a process of its own."""
    module, _, name = function.partition(":")
    code = f"from benchmarks.b08_fan_out import grow; from {module} import {name} as run"
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
