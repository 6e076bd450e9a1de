"""Nodes that take their time: what the cases of G5 are made of."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Any, NamedTuple

from kaygraph import BatchGraph, MapReduceNode, Node, ParallelBatchNode

SWALLOWING = ("swallow", "convert")
ENDLESS = ("hang", *SWALLOWING)


class Try(NamedTuple):
    """What one attempt does: how long it takes, and its end.

    The end is ok or fail. What is to hang has none; swallow and convert have none either, and make
    a result, or an error, of their cancellation.
    """

    seconds: float
    end: str


class Works(Node[Any, Any]):
    """Does what was planned for each attempt."""

    tries: tuple[Try, ...] = ()

    async def exec(self, _: Any) -> None:
        await attempt(self.tries[self.attempt - 1], self.name)


class WorksWithFallback(Works):
    def exec_fallback(self, _: Any, __: Exception) -> None:
        return None


class WorksOften(ParallelBatchNode[Any, Any]):
    """The same for each item, which says itself what is planned."""

    items: tuple[tuple[Try, ...], ...] = ()
    source_hangs = False

    def prep(self, _: Any) -> Any:
        return self._endless() if self.source_hangs else self.items

    async def _endless(self) -> AsyncIterator[Any]:
        for item in self.items:
            yield item
        await asyncio.get_running_loop().create_future()

    async def exec(self, item: tuple[Try, ...]) -> None:
        await attempt(item[self.attempt - 1], self.name)


class Reads(Node[Any, Any]):
    def prep(self, _: Any) -> Any:
        return range(3)


class HangsInReduce(MapReduceNode):
    def prep(self, _: Any) -> Any:
        return range(3)

    async def map(self, item: int) -> Any:
        await asyncio.sleep(0.25)
        return [(item, item)]

    async def reduce(self, _: Any, __: Any) -> None:
        await asyncio.get_running_loop().create_future()


class Repeats(BatchGraph):
    count = 0

    def prep(self, _: Any) -> Any:
        return [{"round": number} for number in range(self.count)]


async def attempt(planned: Try, name: str) -> None:
    if planned.end in ENDLESS:
        await hang(planned.end)
        return
    await asyncio.sleep(planned.seconds)
    if planned.end == "fail":
        raise ValueError(f"{name} fails")


async def hang(end: str) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        if end == "convert":
            raise ConnectionError("as drivers do") from None
        if end == "hang":
            raise


class HangsAlways(ParallelBatchNode[Any, Any]):
    end = "hang"

    async def exec(self, _: Any) -> None:
        await hang(self.end)


class HangsAtTheFirst(HangsAlways):
    """Passes on all other items, until there is no room for them."""

    ordered = False

    async def exec(self, item: int) -> None:
        if item == 0:
            await hang(self.end)


class ReadsOn(Reads):
    def prep(self, _: Any) -> Any:
        return count()
