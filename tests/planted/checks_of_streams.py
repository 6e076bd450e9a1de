"""Streams: in order, never far ahead of who reads them, and nothing lost when they are drained."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

from kaygraph import BaseNode, Graph, Node, ParallelBatchNode
from kaygraph.types import StageReport
from tests.planted.exploring import assert_holds

STREAM_SEEDS = 150


class Counted:
    """Counts what is taken from a source and what has come out at the end.

    Attributes:
        ahead: The most that was taken and had not come out.
    """

    def __init__(self) -> None:
        self.pulled = self.done = self.ahead = 0
        self.results: list[int] | None = None

    def pull(self) -> int:
        self.pulled += 1
        self.ahead = max(self.ahead, self.pulled - self.done)
        return self.pulled - 1


class Source(Node[Any, Any]):
    """Gives numbers, from a generator of either kind."""

    def __init__(self, counted: Counted) -> None:
        super().__init__()
        self.counted = counted
        self.items, self.waits = random.choice([3, 40]), random.choice([True, False])

    def prep(self, _: Any) -> Any:
        return self.awaited() if self.waits else self.plain()

    def plain(self) -> Iterator[int]:
        for _ in range(self.items):
            yield self.counted.pull()

    async def awaited(self) -> AsyncIterator[int]:
        for _ in range(self.items):
            await asyncio.sleep(random.choice([0, 0, 1]))
            yield self.counted.pull()


class Stage(ParallelBatchNode[int, int]):
    """Passes on what it gets, some of it late."""

    async def exec(self, item: int) -> int:
        await asyncio.sleep(random.choice([0, 0, 1, 2, 30]))
        return item


class Last(Stage):
    """Counts what comes out."""

    def __init__(self, counted: Counted, **settings: Any) -> None:
        super().__init__(**settings)
        self.counted = counted

    async def exec(self, item: int) -> int:
        item = await super().exec(item)
        self.counted.done += 1
        return item

    def post(self, _: Any, __: Any, ended: Any) -> None:
        self.counted.results = ended.results if isinstance(ended, StageReport) else ended


class Batch(Last):
    """The same with nothing before it."""

    def prep(self, _: Any) -> Any:
        return Source(self.counted).prep(None)


def drawn(counted: Counted) -> tuple[BaseNode[Any, Any], int]:
    """Draw a pipeline or a batch, and return how far ahead its source may be read."""
    workers = random.randint(1, 3)
    if random.random() < 0.3:
        return Batch(counted, max_workers=workers), workers
    stages = [Stage(max_workers=random.randint(1, 3)) for _ in range(random.randint(0, 2))]
    pipeline: Any = Source(counted)
    for stage in (*stages, Last(counted, max_workers=workers)):
        pipeline = pipeline | stage
    pipeline.buffer = random.randint(1, 3)
    # A stage has an item with each worker, others that wait for their turn, and those before it.
    most = 1 + pipeline.buffer
    for stage in (*stages, Last(counted, max_workers=workers)):
        most += 2 * stage.max_workers + 2 * max(pipeline.buffer, stage.max_workers)
    return pipeline, most


async def flow(_: Any) -> None:
    """Run what was drawn; some runs are drained in their middle."""
    counted = Counted()
    stream, most = drawn(counted)
    run = Graph(stream, max_workers=random.choice([None, 2])).launch({})
    if random.random() < 0.5:
        asyncio.get_running_loop().call_later(random.choice([0, 1, 2.5, 20]), run.drain)
    await run
    pulled = list(range(counted.pulled))
    assert counted.results == pulled, f"of {pulled} came out {counted.results}"
    assert counted.ahead <= most, f"{counted.ahead} items were in flight, {most} may be"


def streams_keep_order_and_measure_and_lose_nothing() -> None:
    """Pipelines and batches behind sources of both kinds, drained or not."""
    assert_holds(flow, seeds=STREAM_SEEDS)
