"""Runs of nodes that work on many items in one call, and wait in it."""

import asyncio
from contextlib import aclosing
from typing import Any

from kaygraph import Graph, Pipeline
from kaygraph.node.blocks import Blocks
from tests.blocks import OURS
from tests.shapes import AnyNode, Ledger, Shape, Work, WorkMany, launched


class Lists(WorkMany):
    """A source of three lists, which waits before each and when it is closed."""

    __module__ = OURS
    max_workers = 1

    def prep(self, _: Any) -> Blocks[Any]:
        return Blocks(self.read())

    async def read(self) -> Any:
        async with self.ledger.tidy_entry():
            for size in (1, 5, 3):
                await asyncio.sleep(size % 2)
                yield list(range(size))

    async def exec(self, item: Any) -> Any:
        return item

    async def exec_block(self, items: list[Any]) -> list[Any]:
        return items


class Commits(WorkMany):
    """Waits for all items of a block, and again while it ends."""

    __module__ = OURS

    async def exec(self, item: Any) -> Any:
        async with self.ledger.tidy_entry():
            await asyncio.sleep(1)
        return item

    async def exec_block(self, items: list[Any]) -> list[Any]:
        async with self.ledger.tidy_entry():
            await asyncio.sleep(1)
        return items


@launched
def lists_and_commits(ledger: Ledger) -> AnyNode:
    """A line of two stages, a stage of single items, and one that commits what has come."""
    line = (Lists(ledger), Commits(ledger, max_workers=1), Work(ledger))
    return Graph(Pipeline(*line, Commits(ledger, max_workers=3), buffer=2))


@launched
def rows_of_lists(ledger: Ledger) -> AnyNode:
    """A batch of what comes in lists, and one of an iterable."""
    return Graph(Lists(ledger) >> Commits(ledger, range(7), max_workers=3))


async def lines_stream_left(ledger: Ledger) -> None:
    line = Lists(ledger) | Commits(ledger, max_workers=1)
    async with aclosing(line.stream()) as results:
        await anext(results)
        await asyncio.sleep(3)
        await anext(results)


SHAPES: list[Shape] = [lists_and_commits, rows_of_lists, lines_stream_left]
