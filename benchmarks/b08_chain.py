"""What one step costs: in a line of ten nodes or a thousand, and in a loop of one."""

from collections.abc import Iterator
from typing import Any

from benchmarks.harness import Case
from kaygraph import AsyncNode, Graph


def cases(size: int) -> Iterator[Case]:
    yield chain("B8-chain", 10, 50_000 // size, 2.3)
    yield chain("B8-line", 1_000, 50_000 // size, 1.6)
    yield loop(50_000 // size)


class Nothing(AsyncNode[Any, Any]):
    """Three hooks that do nothing."""

    async def prep(self, shared: Any) -> Any:
        return None

    async def exec(self, prep_res: Any) -> Any:
        return None

    async def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        return None


class CountUp(AsyncNode[Any, Any]):
    """Goes back to itself until it has counted to ``shared["n"]``."""

    async def prep(self, shared: Any) -> Any:
        return shared["i"]

    async def exec(self, prep_res: Any) -> Any:
        return prep_res + 1

    async def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        shared["i"] = exec_res
        return "again" if exec_res < shared["n"] else "done"


def chain(name: str, length: int, operations: int, target: float) -> Case:
    """One operation is one node of a line: prep, exec and post awaited."""
    hooks = Nothing()
    table = {
        f"n{i}": (hooks.prep, hooks.exec, hooks.post, f"n{i + 1}" if i + 1 < length else None)
        for i in range(length)
    }
    nodes = [Nothing() for _ in range(length)]
    line: Any = nodes[0]
    for node in nodes[1:]:
        line = line >> node
    graph = Graph(line)

    async def floor() -> None:
        for _ in range(operations // length):
            shared: dict[str, Any] = {}
            at: str | None = "n0"
            while at is not None:
                prep, execute, post, following = table[at]
                prepared = await prep(shared)
                executed = await execute(prepared)
                await post(shared, prepared, executed)
                at = following

    async def ours() -> None:
        for _ in range(operations // length):
            await graph.run_async({})

    what = f"a line of {length:,} async nodes"
    return Case(name=name, what=what, operations=operations, floor=floor, ours=ours, target=target)


def loop(operations: int) -> Case:
    """One operation is one round of a node that leads to itself."""
    hooks = CountUp()
    edges = {("a", "again"): "a"}
    table = {"a": (hooks.prep, hooks.exec, hooks.post)}
    node, end = CountUp(), Nothing()
    node - "again" >> node
    node - "done" >> end
    graph = Graph(node)

    async def floor() -> None:
        shared = {"i": 0, "n": operations}
        name: str | None = "a"
        while name is not None:
            prep, execute, post = table[name]
            prepared = await prep(shared)
            executed = await execute(prepared)
            name = edges.get((name, await post(shared, prepared, executed)))

    async def ours() -> None:
        shared = {"i": 0, "n": operations}
        await graph.run_async(shared)
        assert shared["i"] == operations

    return Case(
        name="W2", what="a node that loops", operations=operations, floor=floor, ours=ours, target=3
    )
