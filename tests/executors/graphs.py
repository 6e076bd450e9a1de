"""Twelve graphs whose ``exec``s can run anywhere, and what each of them comes to."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from kaygraph import (
    BatchGraph,
    BatchNode,
    Drop,
    Graph,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    Retry,
)
from kaygraph.nodes import parallel_node

Made = tuple[Any, Callable[[dict[str, Any]], Any]]  # a graph, and what it has left in `shared`


class Writes(Node[Any, Any]):
    """Takes one thing of ``shared`` and writes another one."""

    reads, writes = "start", "result"

    def prep(self, shared: Any) -> Any:
        return shared.get(self.reads, 3)

    def post(self, shared: Any, _: Any, result: Any) -> None:
        shared[self.writes] = result


class Adds(Writes):
    def exec(self, number: int) -> int:
        return number + 1


class Awaits(Writes):
    async def exec(self, number: int) -> int:
        await asyncio.sleep(0)
        return number * 2


class Many(ParallelBatchNode[Any, Any]):
    max_workers = 2

    def prep(self, _: Any) -> Any:
        return range(25)

    def exec(self, number: int) -> Any:
        return number * number

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["result"] = results


class OneByOne(BatchNode[Any, Any]):
    def prep(self, _: Any) -> Any:
        return range(5)

    def exec(self, number: int) -> Any:
        return number * number

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["result"] = results


class FailsOnce(Many):
    def exec(self, number: int) -> Any:
        if number % 3 == 0 and self.attempt == 1:
            raise ConnectionError(f"no {number}")
        return number, self.attempt


class FailsAtSome(Many):
    def exec(self, number: int) -> int:
        if number % 5 == 0:
            raise ValueError(f"no {number}")
        return number


class DropsSome(Many):
    def exec(self, number: int) -> int:
        if number % 5 == 0:
            raise Drop
        if number % 7 == 0:
            raise ValueError(f"no {number}")
        return number


class FallsBack(FailsAtSome):
    async def exec(self, number: int) -> int:
        await asyncio.sleep(0)
        return FailsAtSome.exec(self, number)

    def exec_fallback(self, number: int, error: Exception) -> Any:
        return f"{number}: {error}"


class Numbers(Node[Any, Any]):
    def prep(self, _: Any) -> Any:
        return range(10)


class Yields(ParallelBatchNode[Any, Any]):
    max_workers = 2

    def exec(self, number: int) -> Iterator[int]:  # type: ignore[override]
        yield from range(number)


class Words(MapReduceNode):
    def prep(self, _: Any) -> Any:
        return ["a b a", "b c", "c c c"]

    def map(self, text: str) -> Any:
        return [(word, 1) for word in text.split()]

    def reduce(self, _: str, ones: Any) -> int:
        return sum(ones)

    def post(self, shared: Any, _: Any, counts: Any) -> None:
        shared["result"] = dict(counts)


class OfParams(Node[Any, Any]):
    def exec(self, _: Any) -> int:
        return int(self.params["number"]) * 10

    def post(self, shared: Any, _: Any, result: int) -> None:
        shared.setdefault("found", {})[self.params["number"]] = result


class Rounds(BatchGraph):
    def prep(self, _: Any) -> Any:
        return [{"number": number} for number in range(4)]


class Left(Adds):
    writes = "left"


class Right(Awaits):
    writes = "right"


class Joins(Node[Any, Any]):
    def prep(self, shared: Any) -> Any:
        return shared["left"], shared["right"]

    def exec(self, both: Any) -> int:
        return int(sum(both))

    def post(self, shared: Any, _: Any, result: int) -> None:
        shared["result"] = result


def result(shared: dict[str, Any]) -> Any:
    """Return what a graph has written, errors by their names."""
    found = shared["result"]
    return [one if not hasattr(one, "status") else shown(one) for one in found] if (
        isinstance(found, list)
    ) else found  # fmt: skip


def shown(outcome: Any) -> Any:
    return outcome.index, outcome.status, repr(outcome.error), outcome.attempts


def graphs(place: Any) -> dict[str, Made]:
    """Return the twelve by name, with every ``exec`` in one place, as each node says."""
    return _graphs(run_in=place)


def within(place: Any) -> dict[str, Made]:
    """Return the twelve, with every ``exec`` in one place, as the graph around them says."""
    return {name: (Graph(graph, run_in=place), left) for name, (graph, left) in _graphs().items()}


def _graphs(**here: Any) -> dict[str, Made]:
    power = parallel_node(pow_of, reads="pairs", writes="result", **here)
    return {
        "def": (Graph(Adds(**here)), result),
        "async def": (Graph(Awaits(**here)), result),
        "batch": (Graph(Many(**here)), result),
        "one by one": (Graph(OneByOne(**here)), result),
        "retries": (Graph(FailsOnce(retry=Retry(attempts=2), **here)), result),
        "collected": (Graph(FailsAtSome(on_error="collect", max_retries=2, **here)), result),
        "dropped": (Graph(DropsSome(on_error="skip", **here)), result),
        "fallback": (Graph(FallsBack(**here)), result),
        "pipeline": (Numbers() | Yields(**here) | Many(**here),
                     lambda shared: shared["result"].results),
        "map-reduce": (Graph(Words(**here)), result),
        "rounds": (Rounds(OfParams(**here), max_workers=2), lambda shared: shared["found"]),
        "branches": (Graph(Adds(**here) >> [Graph(Left(**here)), Right(**here)] >> Joins(**here)
                           >> power), result),
    }  # fmt: skip


def pow_of(pair: tuple[int, int]) -> int:
    return pair[0] ** pair[1]
