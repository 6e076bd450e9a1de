"""A graph that is walked once for each mapping of params."""

import importlib
from collections.abc import Iterator
from typing import Any

from benchmarks.b08_chain import Nothing
from benchmarks.harness import Case
from kaygraph import AsyncNode, BatchGraph


def cases(size: int) -> Iterator[Case]:
    yield rounds("B16", 1, 20_000 // size, 3.7)
    yield rounds("B16-ten", 10, 20_000 // size, 5)


class Keeps(AsyncNode[Any, Any]):
    """Counts the rounds."""

    async def prep(self, shared: Any) -> Any:
        return self.params["round"]

    async def exec(self, prep_res: Any) -> Any:
        return prep_res

    async def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["rounds"] += 1


class Rounds(BatchGraph):
    """As many as ``shared["n"]``."""

    def prep(self, shared: Any) -> Any:
        return ({"round": number} for number in range(shared["n"]))


def rounds(name: str, workers: int, operations: int, target: float) -> Case:
    """One operation is a round of two nodes."""
    first, last = Nothing(), Keeps()
    graph = Rounds(Nothing() >> Keeps(), max_workers=workers, on_conflict="ignore")

    async def floor() -> None:
        shared = {"rounds": 0}
        for _ in range(operations):
            for node in (first, last):
                prepared = await node.prep(shared) if node is first else None
                await node.post(shared, prepared, await node.exec(prepared))
        assert shared["rounds"] == operations

    async def ours() -> None:
        shared = {"rounds": 0, "n": operations}
        await graph.run_async(shared)
        assert shared["rounds"] == operations

    def peer() -> Any:
        pocketflow: Any = importlib.import_module("pocketflow")

        class Begins(pocketflow.AsyncNode):  # type: ignore[misc]
            prep_async, exec_async, post_async = Nothing.prep, Nothing.exec, Nothing.post

        class Ends(pocketflow.AsyncNode):  # type: ignore[misc]
            prep_async, exec_async, post_async = Keeps.prep, Keeps.exec, Keeps.post

        kind = pocketflow.AsyncBatchFlow if workers == 1 else pocketflow.AsyncParallelBatchFlow

        class Peer(kind):  # type: ignore[misc, valid-type]
            async def prep_async(self, shared: Any) -> Any:
                return [{"round": number} for number in range(shared["n"])]

        begins = Begins()
        begins >> Ends()
        return Peer(start=begins).run_async({"rounds": 0, "n": operations})

    how = "" if workers == 1 else f", {workers} at once"
    return Case(
        name=name,
        what=f"a BatchGraph's round of two nodes{how}",
        operations=operations,
        floor=floor,
        ours=ours,
        target=target,
        unit="µs",
        peers={"PocketFlow": peer},
    )
