"""Items that are inserted, deleted or reordered between a kill and its resumption."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from kaygraph import BaseNode, BatchGraph, Graph, MapReduceNode, Node, ParallelBatchNode
from kaygraph.journal.memory import MemoryStore
from kaygraph.testing import simulate
from kaygraph.testing._mortal import MortalJournal

Items = Sequence[Any]


class Work(ParallelBatchNode[Any, Any]):
    max_workers = 2

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    async def exec(self, item: Any) -> Any:
        CALLS.append(item)
        if item == "last":
            raise KeyboardInterrupt  # ends the run, with everything before it recorded
        return item * 2

    def post(self, shared: Any, _: Any, results: Any) -> None:
        if isinstance(results, list):
            shared["results"] = results


CALLS: list[Any] = []


def batch() -> BaseNode[Any, Any]:
    return Graph(Work(max_workers=1))


def unordered() -> BaseNode[Any, Any]:
    return Graph(Work(ordered=False, max_workers=1))


def pipeline() -> BaseNode[Any, Any]:
    class Source(Node[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return shared["items"]

    class Last(Node[Any, Any]):
        def post(self, shared: Any, _: Any, report: Any) -> None:
            shared["results"] = report.results

    class Stage(Work):
        def prep(self, shared: Any) -> Any:
            return ()

    return Graph(Source() | Stage(max_workers=1) | Last())


def rounds() -> BaseNode[Any, Any]:
    class Rounds(BatchGraph):
        def prep(self, shared: Any) -> Any:
            shared["results"] = []
            return [{"item": item} for item in shared["items"]]

    class One(Node[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return self.params["item"]

        async def exec(self, item: Any) -> Any:
            CALLS.append(item)
            if item == "last":
                raise KeyboardInterrupt
            return item * 2

        def post(self, shared: Any, _: Any, result: Any) -> None:
            shared["results"].append(result)

    return Rounds(One())


def map_reduce() -> BaseNode[Any, Any]:
    class Doubles(MapReduceNode):
        def prep(self, shared: Any) -> Any:
            return shared["items"]

        async def map(self, item: Any) -> AsyncIterator[Any]:
            CALLS.append(item)
            if item == "last":
                raise KeyboardInterrupt
            yield "all", item * 2

        def reduce(self, _: Any, values: list[Any]) -> Any:
            return values

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["results"] = results["all"]

    return Graph(Doubles(map_workers=1))


KINDS = [batch, unordered, pipeline, rounds, map_reduce]

FIRST = [1, 2, 2, 3, 4]
CHANGES = {
    "inserted": [0, 1, 2, 9, 2, 2, 3, 4],
    "deleted": [1, 2, 4],
    "in another order": [4, 2, 3, 1, 2],
    "all of these": [5, 4, 2, 6, 1],
}


def resumed(make: Callable[[], BaseNode[Any, Any]], now: Items) -> tuple[list[Any], list[Any]]:
    """Run until all of the first items are recorded, and resume with others.

    Returns:
        What is called then, and the results.
    """
    store, graph = MemoryStore(), make()

    def run(items: Items) -> Any:
        CALLS.clear()

        async def work(shared: Any) -> None:
            await graph.run_async(shared, journal=MortalJournal(store))

        return simulate(work, {"items": list(items)}).shared

    with pytest.raises(KeyboardInterrupt):
        run([*FIRST, "last"])
    shared = run(now)
    return CALLS, shared["results"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("make", KINDS)
def test_only_what_is_new_runs(make: Callable[[], BaseNode[Any, Any]], change: str) -> None:
    """An item is identified by its content, not by its place; equal ones are counted."""
    now = CHANGES[change]
    calls, results = resumed(make, now)
    assert Counter(calls) == Counter(now) - Counter(FIRST)
    assert sorted(results) == sorted(item * 2 for item in now)
    if make in (batch, pipeline):
        assert results == [item * 2 for item in now]
