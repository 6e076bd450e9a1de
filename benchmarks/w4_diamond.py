"""W4: a source, fifty branches at once, a join; against a TaskGroup."""

import asyncio

from benchmarks.harness import compare
from benchmarks.w1_chain import Nothing
from kaygraph import Graph

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
