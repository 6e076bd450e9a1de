"""A source, fifty branches at once, a join; against a TaskGroup."""

import asyncio
from collections.abc import Iterator
from typing import Any

from benchmarks.b08_chain import Nothing
from benchmarks.harness import Case
from kaygraph import AsyncNode, Graph

WIDTH = 50


def cases(size: int) -> Iterator[Case]:
    yield diamond(10_400 // size)
    yield writing(10_400 // size, 50, 0, "W4w")
    yield writing(10_400 // size, 50, 10_000, "W4w-keys")
    yield writing(10_400 // size, 10, 0, "W4w-10")
    yield writing(10_000 // size, 10_000 // size, 0, "W4w-wide")


def diamond(operations: int) -> Case:
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

    return Case(
        name="B8-diamond",
        what="a diamond of 50 branches, against a TaskGroup",
        operations=operations,
        floor=floor,
        ours=ours,
        target=1.4,
    )


class Waits(AsyncNode):
    """Waits once and writes one key of ``shared``."""

    async def exec(self, prep_res: Any) -> None:
        await asyncio.sleep(0)

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared[self.name] = exec_res


def writing(operations: int, width: int, keys: int, name: str) -> Case:
    """Branches that wait once and write one key each, into a store with a number of keys.

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

    what = f"{width:,} branches that wait and write one key, with {keys:,} others"
    count = runs * (width + 2)
    return Case(name=name, what=what, operations=count, floor=floor, ours=ours, target=2)
