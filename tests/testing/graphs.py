"""Small graphs for the tests of the test kit."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from kaygraph import (
    BaseNode,
    BatchGraph,
    Drop,
    Graph,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    Retry,
    first_of,
)

AnyNode = BaseNode[Any, Any]


class Sleep(Node[Any, Any]):
    """Takes so many seconds."""

    def __init__(self, seconds: float = 1.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.seconds = seconds

    async def exec(self, _: Any) -> None:
        await asyncio.sleep(self.seconds)


class Add(Sleep):
    """Reads in prep and writes in post: what others add in between is lost."""

    def prep(self, shared: Any) -> int:
        total: int = shared["total"]
        return total

    def post(self, shared: Any, total: int, _: Any) -> None:
        shared["total"] = total + 1


class Work(ParallelBatchNode[Any, Any]):
    """Works on numbers, each of which takes its own time; notes the order in which they end."""

    max_workers = 3

    def __init__(self, items: Any = range(6), **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, item: int) -> int:
        await asyncio.sleep(item % 3)
        return item


def race() -> Graph:
    """Two branches that add one each; the second begins in the moment in which the first ends."""
    return beside(Add(name="left"), Sleep(name="pause") >> Add(name="right"))


def beside(*branches: Any) -> Graph:
    """Branches that may write the same keys, which the engine would warn of by itself."""
    return Graph(list(branches), on_conflict="ignore")


class Fails(Sleep):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(self.seconds)
        raise ValueError("broken")


# --- shapes that use everything -------------------------------------------------------------------


def forks() -> AnyNode:
    return Graph(Sleep() >> [Sleep(), Sleep(2) >> Sleep(), Work()] >> Sleep())


def rounds() -> AnyNode:
    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"round": number} for number in range(4)]

    return Graph(Rounds(Sleep() >> Work(), max_workers=3), max_workers=2)


def groups() -> AnyNode:
    return Graph(first_of(Sleep() >> Sleep(), Work(), Sleep(2)) >> Sleep())


def streams() -> AnyNode:
    class Read(Node[Any, Any]):
        async def prep(self, _: Any) -> Any:
            async def numbers() -> AsyncIterator[int]:
                for number in range(7):
                    await asyncio.sleep(0)
                    yield number

            return numbers()

    stages = Read() | Work() | Work(ordered=False) | Work(max_workers=1)
    stages.buffer = 2
    return Graph(stages, max_workers=3)


def retries() -> AnyNode:
    class Flaky(Work):
        async def exec(self, item: int) -> int:
            await asyncio.sleep(item % 2)
            if self.attempt <= item % 3:
                raise ValueError(item)
            return item

    retry = Retry(attempts=2, wait=1, backoff=2, jitter=0.5)
    return Graph([Flaky(retry=retry, on_error="collect"), Flaky(retry=retry, on_error="skip")])


def limits() -> AnyNode:
    class Slow(Work):
        async def exec(self, item: int) -> int:
            if item == 4:
                raise Drop
            await asyncio.sleep(item)
            return item

    return Graph([Slow(timeout=2, on_error="collect"), Slow(deadline=3, on_error=3)], max_workers=2)


def threads() -> AnyNode:
    class InThread(Work):
        def exec(self, item: int) -> Iterator[int]:  # type: ignore[override]
            yield from (item, item)

    return Graph([InThread(), Work()])


def reducing() -> AnyNode:
    class Count(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return ["some words", "and some more words", "words", "more"]

        async def map(self, line: str) -> Any:
            await asyncio.sleep(1)
            return [(word, 1) for word in line.split()]

        def partition(self, key: Any) -> int:
            return super().partition(key)  # which is not asked where it is not overridden

        async def reduce(self, _: Any, values: list[int]) -> int:
            await asyncio.sleep(1)
            return sum(values)

    return Graph(Count(map_workers=2, reduce_workers=2) >> Sleep())


def failing() -> AnyNode:
    return Graph([Sleep() >> Fails(), Work(), Sleep(2) >> Sleep(2)])


SHAPES: list[Callable[[], AnyNode]] = [
    forks,
    rounds,
    groups,
    streams,
    retries,
    limits,
    threads,
    reducing,
    failing,
]
