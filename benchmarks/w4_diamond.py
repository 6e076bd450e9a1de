"""W4: a source, fifty branches at once, a join; against a TaskGroup."""

import asyncio
from typing import Any

from benchmarks.harness import compare
from benchmarks.w1_chain import Nothing
from kaygraph import AsyncNode, Graph

WIDTH = 50


async def diamond(operations: int) -> None:
    """One operation is one node of the fifty-two."""
    graph = Graph(Nothing() >> [Nothing() for _ in range(WIDTH)] >> Nothing())
    runs = operations // (WIDTH + 2)

    async def source(value: int) -> int:
        return value

    async def branch(value: int) -> int:
        return value

    async def join(values: list[int]) -> int:
        return sum(values)

    async def floor() -> None:
        for _ in range(runs):
            value = await source(1)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(branch(value)) for _ in range(WIDTH)]
            assert await join([task.result() for task in tasks]) == WIDTH

    async def ours() -> None:
        for _ in range(runs):
            await graph.run_async({})

    await compare("W4", "a diamond of 50 branches", operations, floor, ours, "<= 1.8")


class Waits(AsyncNode):
    """Waits once and writes one key of ``shared``."""

    async def exec(self, prep_res: Any) -> None:
        await asyncio.sleep(0)

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared[self.name] = exec_res


async def writing(operations: int, width: int, keys: int, name: str) -> None:
    """Branches that wait once and write one key each, into a store with so many keys already.

    As graphs run again and again, the first walk, in which writes are checked, is not measured.
    """
    graph = Graph(Nothing() >> [Waits(name=f"w{number}") for number in range(width)] >> Nothing())
    full: dict[str, Any] = {f"key-{number}": number for number in range(keys)}
    runs = max(1, operations // (width + 2))

    async def branch(shared: dict[str, Any], number: int) -> None:
        await asyncio.sleep(0)
        shared[f"w{number}"] = None

    async def floor() -> None:
        for _ in range(runs):
            shared = dict(full)
            async with asyncio.TaskGroup() as group:
                for number in range(width):
                    group.create_task(branch(shared, number))

    async def ours() -> None:
        for _ in range(runs):
            await graph.run_async(dict(full))

    what = f"{width:,} branches that wait and write one key, beside {keys:,} others"
    await compare(name, what, runs * (width + 2), floor, ours, "<= 2")
