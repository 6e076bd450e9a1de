"""Programs of PocketFlow: the same classes, once from there and once from kaygraph.compat."""

import importlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from benchmarks.harness import Case

Work = Callable[[], object]


def cases(size: int) -> Iterator[Case]:
    """Yield none where PocketFlow, which is the floor, is not installed."""
    try:
        pocketflow: Any = importlib.import_module("pocketflow")
    except ImportError:
        return
    compat: Any = importlib.import_module("kaygraph.compat")
    for name, what, program, operations, target in (
        ("B3-loop", "a node that loops, in a Flow", loop, 10_000, 0.9),
        ("B3-run", "a Flow of 10 nodes, a run each", runs, 200, 1.3),
        ("B3-batch", "a BatchNode", batch, 100_000, 1.1),
        ("B3-batch-flow", "a BatchFlow of two nodes", batch_flow, 2_000, 0.9),
        ("B3-async-flow", "a node that loops, in an AsyncFlow", async_loop, 10_000, 0.9),
        ("B3-parallel-flow", "an AsyncParallelBatchFlow", parallel_flow, 2_000, 0.9),
        ("B3-parallel-batch", "an AsyncParallelBatchNode", parallel_batch, 10_000, 0.9),
    ):
        many = operations // size
        yield Case(
            name=name, what=what, operations=many, floor=program(pocketflow, many),
            ours=program(compat, many), target=target,
        )  # fmt: skip


def loop(library: Any, operations: int) -> Work:
    class Count(library.Node):  # type: ignore[misc]
        def prep(self, shared: Any) -> Any:
            return shared["i"]

        def exec(self, prep_res: Any) -> Any:
            return prep_res + 1

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared["i"] = exec_res
            return "again" if exec_res < operations else "done"

    class End(library.Node):  # type: ignore[misc]
        pass

    node, end = Count(), End()
    node - "again" >> node
    node - "done" >> end
    flow = library.Flow(start=node)

    def work() -> None:
        shared = {"i": 0}
        flow.run(shared)
        assert shared["i"] == operations

    return work


def runs(library: Any, operations: int) -> Work:
    class Step(library.Node):  # type: ignore[misc]
        def prep(self, shared: Any) -> Any:
            return shared["i"]

        def exec(self, prep_res: Any) -> Any:
            return prep_res + 1

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["i"] = exec_res

    nodes = [Step() for _ in range(10)]
    for one, other in pairwise(nodes):
        one >> other
    flow = library.Flow(start=nodes[0])

    def work() -> None:
        for _ in range(operations):
            shared = {"i": 0}
            flow.run(shared)
            assert shared["i"] == 10

    return work


def batch(library: Any, operations: int) -> Work:
    class Items(library.BatchNode):  # type: ignore[misc]
        def prep(self, shared: Any) -> Any:
            return range(operations)

        def exec(self, item: int) -> int:
            return item + 1

        def post(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
            assert len(exec_res) == operations

    flow = library.Flow(start=Items())

    def work() -> None:
        flow.run({})

    return work


def batch_flow(library: Any, operations: int) -> Work:
    class Step(library.Node):  # type: ignore[misc]
        def prep(self, shared: Any) -> Any:
            return self.params["number"]

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["total"] += prep_res

    class Rounds(library.BatchFlow):  # type: ignore[misc]
        def prep(self, shared: Any) -> Any:
            return [{"number": 1} for _ in range(operations)]

    first = Step()
    first >> Step()
    flow = Rounds(start=first)

    def work() -> None:
        shared = {"total": 0}
        flow.run(shared)
        assert shared["total"] == 2 * operations

    return work


def async_loop(library: Any, operations: int) -> Work:
    class Count(library.AsyncNode):  # type: ignore[misc]
        async def prep_async(self, shared: Any) -> Any:
            return shared["i"]

        async def exec_async(self, prep_res: Any) -> Any:
            return prep_res + 1

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared["i"] = exec_res
            return "again" if exec_res < operations else "done"

    class End(library.AsyncNode):  # type: ignore[misc]
        pass

    node, end = Count(), End()
    node - "again" >> node
    node - "done" >> end
    flow = library.AsyncFlow(start=node)

    async def work() -> None:
        shared = {"i": 0}
        await flow.run_async(shared)
        assert shared["i"] == operations

    return work


def parallel_flow(library: Any, operations: int) -> Work:
    class Step(library.AsyncNode):  # type: ignore[misc]
        async def prep_async(self, shared: Any) -> Any:
            return self.params["number"]

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["total"] += prep_res

    class Rounds(library.AsyncParallelBatchFlow):  # type: ignore[misc]
        async def prep_async(self, shared: Any) -> Any:
            return [{"number": 1} for _ in range(operations)]

    first = Step()
    first >> Step()
    flow = Rounds(start=first)

    async def work() -> None:
        shared = {"total": 0}
        await flow.run_async(shared)
        assert shared["total"] == 2 * operations

    return work


def parallel_batch(library: Any, operations: int) -> Work:
    class Items(library.AsyncParallelBatchNode):  # type: ignore[misc]
        async def prep_async(self, shared: Any) -> Any:
            return range(operations)

        async def exec_async(self, item: int) -> int:
            return item + 1

        async def post_async(self, shared: Any, prep_res: Any, exec_res: list[int]) -> None:
            assert len(exec_res) == operations

    flow = library.AsyncFlow(start=Items())

    async def work() -> None:
        await flow.run_async({})

    return work
