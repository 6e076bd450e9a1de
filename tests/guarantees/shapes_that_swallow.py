"""Runs whose nodes make a result, or an error, of their cancellation while others wait."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

from kaygraph import Graph, MapReduceNode, Node, Pipeline, RateLimit, first_of, settle
from tests.shapes import AnyNode, Ledger, Shape, Work, WorkMany, launched


class Swallows(WorkMany):
    """Swallows its cancellation with every other item, and makes an error of it with the rest."""

    async def exec(self, item: Any) -> Any:
        try:
            return await super().exec(item)
        except asyncio.CancelledError:
            if item % 2:
                raise ConnectionError("as drivers do") from None
            return item


class Reads(Node[Any, Any]):
    """A source that has to be closed."""

    def __init__(self, ledger: Ledger, items: int = 9) -> None:
        super().__init__()
        self.ledger, self.items = ledger, items

    def prep(self, _: Any) -> Iterator[int]:
        with self.ledger.entry():
            yield from range(self.items)


def stages(ledger: Ledger, on_error: str) -> Pipeline:
    """Three stages, each slower than the previous one: the buffers are full."""
    early = Swallows(ledger, (), max_workers=2, ordered=False, on_error=on_error)
    later = Swallows(ledger, (), max_workers=3, on_error=on_error)
    return Pipeline(Reads(ledger), early, later, Work(ledger), buffer=1)


@launched
def full_buffers(ledger: Ledger) -> AnyNode:
    """Workers that wait for room, and for their order."""
    return Graph(stages(ledger, "collect"), max_workers=4)


@launched
def full_buffers_that_raise(ledger: Ledger) -> AnyNode:
    """What was made of the cancellation would end the run, and is not what ends it."""
    return Graph(stages(ledger, "raise") >> Work(ledger))


@launched
def lines(ledger: Ledger) -> AnyNode:
    """Batches that stand in line for a key, for a rate, and for the permits of two graphs."""
    keyed = Swallows(ledger, range(4), limit_by=lambda _: "all", on_error="collect")
    rated = Swallows(ledger, range(3), rate=RateLimit(1, per=1), on_error="skip")
    return Graph([keyed, Graph([rated, Swallows(ledger, range(3))], max_workers=1)], max_workers=2)


@launched
def one_after_another(ledger: Ledger) -> AnyNode:
    """A batch with one worker, which has no other tasks around it."""
    return Graph(Swallows(ledger, range(4), max_workers=1) >> Work(ledger))


@launched
def losers(ledger: Ledger) -> AnyNode:
    """Branches that continue when a race is lost, with others that are waited for."""
    race = first_of(Work(ledger), Swallows(ledger, range(9), on_error="collect"))
    return Graph(settle(race, Swallows(ledger, range(3))) >> Work(ledger))


@launched
def reducing(ledger: Ledger) -> AnyNode:
    """The two batches of a map-reduce."""

    class Counts(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return range(5)

        async def map(self, item: int) -> Any:
            await Swallows(ledger).exec(item)
            return [(item % 2, item)]

        async def reduce(self, key: Any, values: list[int]) -> int:
            await Swallows(ledger).exec(key)
            return sum(values)

    return Graph(Counts(map_workers=2, on_error="skip"), max_workers=1)


async def read_slowly(stream: Any) -> None:
    async with aclosing(stream) as results:
        async for _ in results:
            await asyncio.sleep(3)


async def batch_read_slowly(ledger: Ledger) -> None:
    node = Swallows(ledger, range(6), on_error="collect")
    await read_slowly(node.stream(deadline=1000))


async def pipeline_read_slowly(ledger: Ledger) -> None:
    await read_slowly(stages(ledger, "collect").stream())


SHAPES: list[Shape] = [
    full_buffers,
    full_buffers_that_raise,
    lines,
    one_after_another,
    losers,
    reducing,
    batch_read_slowly,
    pipeline_read_slowly,
]
