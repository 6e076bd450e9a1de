"""What observing a run costs: an observer of nodes against none."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.b08_fan_out import Items
from benchmarks.harness import Benchmark, Case
from kaygraph import Event, Graph, Node

ROW = json.dumps({"id": 7, "tags": ["a", "b"] * 250, "sizes": [*range(1000)]})


def cases(size: int) -> Iterator[Benchmark]:
    yield of_items(1_000_000 // size)
    yield of_nodes(1_000 // size)
    yield of_events(1_000 // size)


class OfNodes:
    """An observer without events of items."""

    items = False

    def __init__(self) -> None:
        self.events = 0

    def __call__(self, event: Event, /) -> None:
        self.events += 1


class Reads(Node[Any, Any]):
    """Does a little: reads and writes a line of JSON, of 7 KB."""

    def prep(self, shared: Any) -> Any:
        return shared["line"]

    async def exec(self, line: str) -> str:
        return json.dumps(json.loads(line))

    def post(self, shared: Any, prep_res: Any, exec_res: str) -> None:
        shared["line"] = exec_res


def of_items(operations: int) -> Case:
    """One operation is one item that does nothing."""
    graph = Graph(Items())

    async def work(*observers: OfNodes) -> None:
        shared = {"n": operations}
        await graph.run_async(shared, observers=observers)
        assert len(shared["results"]) == operations  # type: ignore[arg-type]

    async def observed() -> None:
        await work(observer := OfNodes())
        assert observer.events == 5

    return Case(
        name="E1-items",
        what="items that do nothing, with an observer of nodes: against nobody",
        operations=operations,
        floor=work,
        ours=observed,
        target=1.02,
    )


def line_of(operations: int) -> Graph:
    first = last = Reads(name="0")
    for number in range(1, operations):
        last = last.next(Reads(name=str(number)))
    return Graph(first)


def of_events(operations: int) -> Case:
    """One operation is one node, which has two events."""
    graph = line_of(operations)

    async def floor() -> None:
        shared = {"line": ROW}
        await graph.run_async(shared)
        assert shared["line"] == ROW

    async def ours() -> None:
        shared, number = {"line": ROW}, 0
        async with graph.events(shared) as events:
            async for _ in events:
                number += 1
        assert (number, events.dropped) == (2 + 2 * operations, 0)
        assert shared["line"] == ROW

    return Case(
        name="E1-events",
        what="the same nodes, and graph.events() is read: against nobody",
        operations=operations,
        floor=floor,
        ours=ours,
        target=1.05,
    )


def of_nodes(operations: int) -> Case:
    """One operation is one node."""
    graph = line_of(operations)

    async def work(*observers: OfNodes) -> None:
        shared = {"line": ROW}
        await graph.run_async(shared, observers=observers)
        assert shared["line"] == ROW

    async def observed() -> None:
        await work(observer := OfNodes())
        assert observer.events == 2 + 2 * operations

    return Case(
        name="E1-nodes",
        what="nodes that read and write a line of JSON, with an observer: against nobody",
        operations=operations,
        floor=work,
        ours=observed,
        target=1.05,
    )
