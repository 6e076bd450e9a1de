"""Nodes that give and take many items at once, as those that read files do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from kaygraph import BatchNode, Drop, ParallelBatchNode
from kaygraph.node.blocks import DROPPED, Blocks
from kaygraph.types import StageReport

OURS = "kaygraph.tests"  # only nodes of the engine's own may do it

SET: ContextVar[str] = ContextVar("set", default="")


class Lists(BatchNode[Any, Any]):
    """A source of lists, each after so many seconds; negative numbers are bad rows."""

    __module__ = OURS
    is_source = True

    def __init__(self, *lists: Sequence[Any], seconds: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.lists, self.seconds = lists, seconds
        self.given = 0
        self.closed = False
        self.report: StageReport | None = None

    def prep(self, _: Any) -> Blocks[Any]:
        return Blocks(self.read())

    async def read(self) -> Any:
        try:
            for items in self.lists:
                if self.seconds:
                    await asyncio.sleep(self.seconds)
                self.given += 1
                yield items
        finally:
            self.closed = True

    async def exec(self, item: Any) -> Any:
        return checked(item)

    async def exec_block(self, items: list[Any]) -> Iterator[Any] | list[Any]:
        bad = any(isinstance(item, int) and item < 0 for item in items)
        return map(checked, items) if bad else items

    def post(self, _: Any, __: Any, report: Any) -> None:
        self.report = report


def checked(item: Any) -> Any:
    if isinstance(item, int) and item < 0:
        raise LookupError(f"{item} is a bad row")
    return item


class Work(BatchNode[Any, Any]):
    """Calls a function for each item, of a block of them where the engine gives one."""

    __module__ = OURS

    def __init__(self, function: Callable[[Any], Any], seconds: float = 0, **settings: Any) -> None:
        super().__init__(**settings)
        self.function, self.seconds = function, seconds
        self.blocks: list[list[Any]] = []
        self.alone: list[Any] = []
        self.report: StageReport | None = None

    async def exec(self, item: Any) -> Any:
        self.alone.append(item)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        value = self.function(item)
        if value is DROPPED:
            raise Drop
        return value

    async def exec_block(self, items: list[Any]) -> Iterator[Any]:
        self.blocks.append(items)
        if self.seconds:
            await asyncio.sleep(self.seconds * len(items))
        return map(self.function, items)

    def post(self, _: Any, __: Any, report: Any) -> None:
        self.report = report


class Commit(ParallelBatchNode[Any, Any]):
    """Ends all items of a block at the same moment, as a transaction does."""

    __module__ = OURS

    def __init__(self, seconds: float = 0, refused: Any = (), **settings: Any) -> None:
        super().__init__(**settings)
        self.seconds, self.refused = seconds, refused
        self.blocks: list[list[Any]] = []
        self.report: StageReport | None = None

    async def exec(self, item: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return self._result(item)

    async def exec_block(self, items: list[Any]) -> Iterator[Any] | list[Any]:
        self.blocks.append(items)
        await asyncio.sleep(self.seconds)
        return map(self._result, items) if self.refused else items

    def _result(self, item: Any) -> Any:
        if item in self.refused:
            raise ValueError(f"{item} is refused")
        return item

    def post(self, _: Any, __: Any, report: Any) -> None:
        self.report = report


async def arriving(items: Sequence[Any], seconds: float) -> AsyncIterator[Any]:
    """Yield items, each after so many seconds."""
    for item in items:
        await asyncio.sleep(seconds)
        yield item
