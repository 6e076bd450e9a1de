"""Runs whose sources and stages hold something over their yields, and wait while they end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from itertools import count
from typing import Any

import anyio

from kaygraph import Graph, Pipeline
from tests.guarantees.shapes_that_swallow import Reads, Swallows
from tests.shapes import AnyNode, Ledger, Shape, Work, WorkMany, launched


class Yields(WorkMany):
    """Yields three values of each item, within scopes of its own."""

    async def exec(self, item: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        async with self.ledger.tidy_entry(), anyio.create_task_group() as group:
            group.start_soon(asyncio.sleep, 1)
            async with asyncio.timeout(1000):
                for number in range(3):
                    await asyncio.sleep(item % 2)
                    yield item + number


class Deaf(WorkMany):
    """Yields forever, whatever it receives, until it is closed."""

    async def exec(self, item: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        async with self.ledger.tidy_entry():
            for number in count():
                try:
                    await asyncio.sleep(1)
                    yield number
                except asyncio.CancelledError:
                    pass


@launched
def yields_in_order(ledger: Ledger) -> AnyNode:
    """The first item streams, others wait for their turn, and all for permits and for room."""
    yields = Yields(ledger, (), max_workers=3, limit_by=lambda item: item % 2)
    stages = (Reads(ledger, 4), yields, Yields(ledger, (), max_workers=2), Work(ledger))
    return Graph(Pipeline(*stages, buffer=1), max_workers=2)


@launched
def yields_in_any_order(ledger: Ledger) -> AnyNode:
    """Time limits stand still and run on; what comes behind swallows its cancellation."""
    yields = Yields(ledger, (), max_workers=3, ordered=False, timeout=400, on_error="collect")
    later = Swallows(ledger, (), max_workers=2, on_error="collect")
    return Graph(Pipeline(Reads(ledger, 5), yields, later, Work(ledger), buffer=2))


async def yields_for_ever(ledger: Ledger) -> None:
    """A stream that is left after its third value."""
    stages = (Reads(ledger), Deaf(ledger, (), max_workers=2), Yields(ledger, ()))
    async with aclosing(Pipeline(*stages, buffer=1).stream({})) as results:
        async for _ in results:
            if ledger.begun > 4:
                break


async def rows(ledger: Ledger) -> AsyncIterator[int]:
    """Yield numbers within scopes."""
    async with ledger.tidy_entry(), anyio.create_task_group() as group:
        group.start_soon(asyncio.sleep, 1)
        async with asyncio.timeout(1000):
            for number in range(5):
                await asyncio.sleep(number % 2)
                yield number


@launched
def sources_with_scopes(ledger: Ledger) -> AnyNode:
    """Batches of several workers and of one, and a stage, whose sources hold scopes."""
    batches = [WorkMany(ledger, lambda: rows(ledger), max_workers=n) for n in (3, 1)]
    first = WorkMany(ledger, lambda: rows(ledger), on_error="collect")
    return Graph([*batches, Pipeline(first, Work(ledger), buffer=1)], max_workers=2)


SHAPES: list[Shape] = [
    yields_in_order,
    yields_in_any_order,
    yields_for_ever,
    sources_with_scopes,
]


class YieldsInThread(WorkMany):
    """Yields in a thread, which stands still while there is no room."""

    def exec(self, item: Any) -> Iterator[Any]:  # type: ignore[override]
        with self.ledger.entry():
            yield from range(3)


class AwaitsInThread(WorkMany):
    """The same on a loop of its own."""

    run_in = "thread"

    async def exec(self, item: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        with self.ledger.entry():
            for number in range(3):
                await asyncio.sleep(0)
                yield number


@launched
def yields_in_threads(ledger: Ledger) -> AnyNode:
    stages = (YieldsInThread(ledger), AwaitsInThread(ledger, max_workers=1))
    return Graph(Pipeline(*stages, buffer=1))


THREADED: list[Shape] = [yields_in_threads]
