"""W8: what a plan costs, and that wiring elsewhere does not slow down a run."""

from collections.abc import Iterator
from typing import Any

from benchmarks.b08_chain import Nothing
from benchmarks.harness import Case
from kaygraph import Graph


def cases(size: int) -> Iterator[Case]:
    yield planning(10_000 // size)
    yield rerun(500 // size, 1000 // size)


def line(nodes: int) -> Nothing:
    """Return the first of a number of nodes in a line, none of which has its own name."""
    first = last = Nothing()
    for _ in range(nodes - 1):
        following = Nothing()
        last >> following
        last = following
    return first


def planning(nodes: int) -> Case:
    """One operation is one node: a graph of all of them, against ten of a tenth each."""
    all_in_one, tenths = line(nodes), [line(nodes // 10) for _ in range(10)]

    def floor() -> None:
        for first in tenths:
            assert Graph(first).plan

    def ours() -> None:
        assert Graph(all_in_one).plan

    what = f"plan {nodes:,} nodes, against ten of a tenth"
    return Case(name="W8", what=what, operations=nodes, floor=floor, ours=ours, target=1.5)


def rerun(runs: int, nodes: int) -> Case:
    """One operation is one run, after wiring two nodes that are not part of it."""
    graph = Graph(line(nodes))

    def wire() -> Any:
        return Nothing() >> Nothing()

    async def floor() -> None:
        for _ in range(runs):
            wire()
        for _ in range(runs):
            await graph.run_async({})

    async def ours() -> None:
        for _ in range(runs):
            wire()
            await graph.run_async({})

    what = f"run {nodes:,} nodes after wiring elsewhere"
    return Case(name="W8r", what=what, operations=runs, floor=floor, ours=ours, target=1.1)
