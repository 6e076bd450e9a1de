"""W8: what a plan costs, and that wiring elsewhere costs a run nothing."""

from typing import Any

from benchmarks.harness import compare
from benchmarks.w1_chain import Nothing
from kaygraph import Graph


def line(nodes: int) -> Nothing:
    """Return the first of so many nodes in a line, none of which has a name of its own."""
    first = last = Nothing()
    for _ in range(nodes - 1):
        following = Nothing()
        last >> following
        last = following
    return first


async def planning(nodes: int) -> None:
    """One operation is one node: a graph of all of them, against ten of a tenth each."""
    all_in_one, tenths = line(nodes), [line(nodes // 10) for _ in range(10)]

    async def floor() -> None:
        for first in tenths:
            assert Graph(first).plan

    async def ours() -> None:
        assert Graph(all_in_one).plan

    await compare(
        "W8", f"plan {nodes:,} nodes, against ten of a tenth", nodes, floor, ours, "<= 1.5"
    )


async def rerun(runs: int, nodes: int) -> None:
    """One operation is one run, after two nodes have been wired that have no part in it."""
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
    await compare("W8r", what, runs, floor, ours, "<= 1.1")
