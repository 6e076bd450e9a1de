"""Nodes whose work an executor sends to other processes."""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from kaygraph import CircuitBreaker, MapReduceNode, Node, ParallelBatchNode, RateLimit, Retry
from kaygraph.nodes import node
from tests.executors.failing import Busy


def settings() -> dict[str, Any]:
    """Return what only the engine reads, and what no pickle takes."""
    return {
        "limit_by": lambda item: str(item),
        "rate": RateLimit(1000),
        "breaker": CircuitBreaker(100),
        "retry": Retry(attempts=2, on=lambda error: isinstance(error, Busy), wait=lambda *_: 0.0),
    }


class Doubles(ParallelBatchNode[Any, Any]):
    """Fails once for every item, and then gives its double and the process."""

    def __init__(self, items: Any, **given: Any) -> None:
        super().__init__(**given)
        self.items = items

    def prep(self, shared: Any) -> Any:
        items, self.items = self.items, ()  # they do not go with the node
        return items

    def exec(self, item: Any) -> Any:
        if self.attempt < 2:
            raise Busy(503, "slow")
        return item * 2, os.getpid()

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


class Marks(Node[Any, Any]):
    """Gives what no other call gives."""

    def prep(self, shared: Any) -> Any:
        return 1

    def exec(self, item: Any) -> Any:
        time.sleep(0.05)
        return uuid4().hex

    def post(self, shared: Any, _: Any, mark: Any) -> None:
        shared["marks"].append(mark)


class AsyncDoubles(Doubles):
    async def exec(self, item: Any) -> Any:
        await asyncio.sleep(0)
        return Doubles.exec(self, item)


class YieldsDoubles(Doubles):
    def exec(self, item: Any) -> Iterator[Any]:
        yield from Doubles.exec(self, item)


class Counts(MapReduceNode):
    """Counts words, and says where that was."""

    def prep(self, _: Any) -> list[str]:
        return ["a b a", "b c"]

    def map(self, text: str) -> list[tuple[str, int]]:
        return [(word, 1) for word in text.split()]

    def reduce(self, word: str, ones: list[int]) -> tuple[int, int]:
        return sum(ones), os.getpid()

    def post(self, shared: Any, _: Any, counts: Any) -> None:
        shared["counts"] = counts


class Numbers(Node[Any, Any]):
    def prep(self, _: Any) -> range:
        return range(3)


class Squares(Node[Any, Any]):
    """A stage, which gives the square and the process."""

    def exec(self, number: int) -> tuple[int, int]:
        return number * number, os.getpid()


class Collects(Node[Any, Any]):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    async def exec(self, item: Any) -> None:
        self.got.append(item)


@node(writes="pid")
def process_of() -> int:
    """A function that is a node."""
    return os.getpid()
