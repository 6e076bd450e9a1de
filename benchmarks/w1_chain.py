"""W1 and W2: what one step costs, in a line of ten nodes and in a loop of one."""

from typing import Any

from benchmarks.harness import compare
from kaygraph import AsyncNode, Graph

LENGTH = 10


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


async def chain(operations: int) -> None:
    """One operation is one node of a line of ten: prep, exec and post awaited."""
    hooks = Nothing()
    table = {
        f"n{i}": (hooks.prep, hooks.exec, hooks.post, f"n{i + 1}" if i + 1 < LENGTH else None)
        for i in range(LENGTH)
    }
    nodes = [Nothing() for _ in range(LENGTH)]
    line: Any = nodes[0]
    for node in nodes[1:]:
        line = line >> node
    graph = Graph(line)

    async def floor() -> None:
        for _ in range(operations // LENGTH):
            shared: dict[str, Any] = {}
            name: str | None = "n0"
            while name is not None:
                prep, execute, post, following = table[name]
                prepared = await prep(shared)
                executed = await execute(prepared)
                await post(shared, prepared, executed)
                name = following

    async def ours() -> None:
        for _ in range(operations // LENGTH):
            await graph.run_async({})

    await compare("W1", "a line of 10 nodes", operations, floor, ours, "<= 3")


async def loop(operations: int) -> None:
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

    await compare("W2", "a node that loops", operations, floor, ours, "<= 3")
