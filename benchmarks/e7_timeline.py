"""E7: what an item and a step cost for the timeline of a run report."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from kaygraph import Graph, Node, ParallelBatchNode, RunReport

from .harness import Case


class Idle(ParallelBatchNode[int, int]):
    """Does nothing with each of its items."""

    max_workers: int = 10

    def prep(self, shared: dict[str, Any]) -> range:
        return range(shared["n"])

    async def exec(self, item: int) -> int:
        return item


class Suspends(Idle):
    """Lets others have a turn."""

    max_workers: int = 100

    async def exec(self, item: int) -> int:
        await asyncio.sleep(0)
        return item


class Loop(Node[Any, Any]):
    """Comes back to itself a number of times."""

    async def exec(self, _: Any) -> int:
        return 1

    def post(self, shared: dict[str, Any], prep_res: Any, exec_res: int) -> str:
        shared["n"] -= 1
        return "again" if shared["n"] > 0 else "done"


def looped() -> Graph:
    loop = Loop()
    loop - "again" >> loop
    loop - "done" >> Node(name="Last")
    return Graph(loop)


def cases(size: int) -> Iterator[Case]:
    yield case("E7", "an item that does nothing", 500_000 // size, lambda: Graph(Idle()), 0.2)
    yield case("E7-suspends", "one that suspends", 100_000 // size, lambda: Graph(Suspends()), 0.5)
    yield case("E7-loop", "a step of a loop", 20_000 // size, looped, 2.0)


def case(name: str, what: str, operations: int, make: Callable[[], Graph], target: float) -> Case:
    graph = make()

    def reported(timeline: bool) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            report = RunReport(timeline=timeline)
            await graph.run_async({"n": operations}, observers=[report])
            assert report.items["ok"] >= operations

        return run

    return Case(
        name=name, what=f"{what}, with a RunReport that has a timeline, and with one without",
        operations=operations, floor=reported(False), ours=reported(True), target=target,
        unit="µs more",
    )  # fmt: skip
