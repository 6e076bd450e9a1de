"""``def`` nodes under ``run()``: one in a long run, and ten in a short one."""

import importlib
from collections.abc import Iterator
from typing import Any

from benchmarks.harness import Case
from kaygraph import Graph, Node

LENGTH = 10


def cases(size: int) -> Iterator[Case]:
    yield loop(50_000 // size)
    yield line(1_000 // size)


class CountUp(Node[Any, Any]):
    """Goes back to itself until it has counted to ``shared["n"]``."""

    def prep(self, shared: Any) -> Any:
        return shared["i"]

    def exec(self, prep_res: Any) -> Any:
        return prep_res + 1

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        shared["i"] = exec_res
        return "again" if exec_res < shared["n"] else "done"


class Counts(Node[Any, Any]):
    """Adds one."""

    def prep(self, shared: Any) -> Any:
        return shared["i"]

    def exec(self, prep_res: Any) -> Any:
        return prep_res + 1

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["i"] = exec_res


def loop(operations: int) -> Case:
    """One operation is one round of a node that leads to itself."""
    hooks = CountUp()
    node = CountUp()
    node - "again" >> node
    node - "done" >> Node()
    graph = Graph(node)

    def floor() -> None:
        shared = {"i": 0, "n": operations}
        action = "again"
        while action == "again":
            prepared = hooks.prep(shared)
            action = hooks.post(shared, prepared, hooks.exec(prepared))
        assert shared["i"] == operations

    def ours() -> None:
        shared = {"i": 0, "n": operations}
        graph.run(shared)
        assert shared["i"] == operations

    def peer() -> None:
        pocketflow: Any = importlib.import_module("pocketflow")

        class Peer(pocketflow.Node):  # type: ignore[misc]
            prep, exec, post = CountUp.prep, CountUp.exec, CountUp.post

        counts = Peer()
        counts - "again" >> counts
        counts - "done" >> pocketflow.Node()
        shared = {"i": 0, "n": operations}
        pocketflow.Flow(start=counts).run(shared)
        assert shared["i"] == operations

    return Case(
        name="B1",
        what="a def node in one long run()",
        operations=operations,
        floor=floor,
        ours=ours,
        target=1.7,
        unit="µs",
        peers={"PocketFlow": peer},
    )


def line(operations: int) -> Case:
    """One operation is a run of ten nodes in a line, including its start and end."""
    hooks = [Counts() for _ in range(LENGTH)]
    nodes = [Counts() for _ in range(LENGTH)]
    chain: Any = nodes[0]
    for node in nodes[1:]:
        chain = chain >> node
    graph = Graph(chain)

    def floor() -> None:
        for _ in range(operations):
            shared = {"i": 0}
            for node in hooks:
                prepared = node.prep(shared)
                node.post(shared, prepared, node.exec(prepared))
            assert shared["i"] == LENGTH

    def ours() -> None:
        for _ in range(operations):
            shared = {"i": 0}
            graph.run(shared)
            assert shared["i"] == LENGTH

    def peer() -> None:
        pocketflow: Any = importlib.import_module("pocketflow")

        class Peer(pocketflow.Node):  # type: ignore[misc]
            prep, exec, post = Counts.prep, Counts.exec, Counts.post

        first = last = Peer()
        for _ in range(LENGTH - 1):
            last = last >> Peer()
        flow = pocketflow.Flow(start=first)
        for _ in range(operations):
            shared = {"i": 0}
            flow.run(shared)
            assert shared["i"] == LENGTH

    return Case(
        name="B2",
        what="run() of ten def nodes, all included",
        operations=operations,
        floor=floor,
        ours=ours,
        target=60,
        unit="µs",
        peers={"PocketFlow": peer},
    )
