"""V1: what a drawing costs, compared with the same graph as Mermaid text."""

import random
from collections.abc import Iterator

from benchmarks.harness import Case
from kaygraph import Graph, Node


def cases(size: int) -> Iterator[Case]:
    yield drawing("V1", 1000 // size, 150.0)
    yield drawing("V1-200", 200 // size, 100.0)


def graph_of(nodes: int) -> Graph:
    """Return a graph with joins, an error handler, loops, and edges that pass many others."""
    chance = random.Random(1)
    steps = [Node(name=f"Step {number}") for number in range(nodes)]
    handler = Node(name="Handle errors")
    for number in range(1, nodes):
        steps[chance.randint(max(0, number - 20), number - 1)] >> steps[number]
        if number % 3 == 0:
            steps[chance.randint(max(0, number - 60), number - 1)] >> steps[number]
        if number % 10 == 0:
            steps[number] - "error" >> handler
            steps[number] - "again" >> steps[chance.randint(max(0, number - 40), number - 1)]
    return Graph(steps[0])


def drawing(name: str, nodes: int, target: float) -> Case:
    """One operation is one node, laid out and written."""
    graph = graph_of(nodes)

    def floor() -> None:
        assert graph.to_mermaid().count("[") + graph.to_mermaid().count("{{") > nodes

    def ours() -> None:
        assert graph.to_svg().count('class="kaygraph-node') == nodes + 1

    return Case(
        name=name, what=f"draw {nodes:,} nodes as SVG, against their Mermaid", operations=nodes,
        floor=floor, ours=ours, target=target, unit="µs",
    )  # fmt: skip
