"""Stages whose exec yields: each value once, in order, in its place, and under a permit."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from kaygraph import Graph, ItemFailed, ItemFinished, Outcome, ParallelBatchNode, Pipeline
from kaygraph.testing import cancel_everywhere
from tests.planted.exploring import assert_holds

YIELD_SEEDS = 200


class Watch:
    """Counts the calls that are at work, and the values that are on their way."""

    def __init__(self, most: int, ahead: int) -> None:
        self.most, self.ahead = most, ahead
        self.now: Counter[Any] = Counter()
        self.made = self.taken = 0
        self.wrong: list[str] = []

    def work(self, node: ParallelBatchNode[Any, Any]) -> None:
        self.now[node] += 1
        running = self.now.total()
        if self.now[node] > int(node.max_workers) or running > self.most:
            self.wrong.append(f"{running} calls at once, {self.now[node]} of a node")

    def rest(self, node: Any) -> None:
        self.now[node] -= 1

    def make(self) -> None:
        self.made += 1
        under_way = self.made - self.taken
        if under_way > self.ahead:
            self.wrong.append(f"{under_way} values on their way, {self.ahead} may be")


class Yields(ParallelBatchNode[int, Any]):
    """Yields some values of each item; some items fail before them, some after them."""

    def __init__(self, watch: Watch, items: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.watch = watch
        self.items = range(items)
        self.values = {item: random.choice([0, 1, 2, 9]) for item in self.items}
        self.failing = {item: random.choice([0, 0, 1]) for item in self.items}
        self.broken = {item for item in self.items if random.random() < 0.2}

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, item: int) -> AsyncIterator[Any]:  # type: ignore[override]
        self.watch.work(self)
        try:
            await asyncio.sleep(random.choice([0, 0, 1, 3]))
            if self.attempt <= self.failing[item]:
                raise ConnectionError(item)
            for number in range(self.values[item]):
                await asyncio.sleep(random.choice([0, 0, 0, 1]))
                self.watch.make()
                self.watch.rest(self)
                try:
                    yield item, number
                finally:
                    self.watch.work(self)
            if item in self.broken and self.attempt == self.failing[item] + 1:
                raise ConnectionError(item)
        finally:
            self.watch.rest(self)

    @property
    def expected(self) -> list[Any]:
        """What continues: an item that fails after its first value is not retried."""
        return [
            value
            for item in self.items
            for value in (
                *((item, number) for number in range(self.values[item])),
                *([("failed", item)] if item in self.broken and self.values[item] else []),
            )
        ]


class Takes(ParallelBatchNode[Any, Any]):
    """Takes up the values, some of them late."""

    def __init__(self, watch: Watch, **settings: Any) -> None:
        super().__init__(**settings)
        self.watch = watch
        self.results: list[Any] = []

    async def exec(self, value: Any) -> Any:
        self.watch.taken += 1
        self.watch.work(self)
        try:
            await asyncio.sleep(random.choice([0, 0, 2, 5]))
        finally:
            self.watch.rest(self)
        return value

    def post(self, _: Any, __: Any, report: Any) -> None:
        self.results = [
            (result.status, result.item) if isinstance(result, Outcome) else result
            for result in report.results
        ]


async def flow(_: Any) -> None:
    """Run a pipeline with a stage that yields, under a cap."""
    workers, buffer = random.randint(1, 4), random.choice([1, 2, 5])
    window = max(workers, buffer)
    ahead = buffer + 1 + workers + (0 if workers == 1 else window + workers * (window // workers))
    cap = random.choice([None, 1, 2])
    watch = Watch(cap or 9, ahead)
    settings = {"max_retries": 3, "timeout": 60, "on_error": "collect"}
    yields = Yields(watch, random.choice([1, 8]), max_workers=workers, **settings)
    takes = Takes(watch, max_workers=1)
    await Graph(Pipeline(yields, takes, buffer=buffer), max_workers=cap).run_async({})
    assert not watch.wrong, watch.wrong[0]
    assert takes.results == yields.expected, f"came out {takes.results}, not {yields.expected}"


def values_go_on_once_in_order_and_under_a_permit() -> None:
    """With several workers, retries, small buffers, and caps that all stages share."""
    assert_holds(flow, seeds=YIELD_SEEDS)


class Reads(ParallelBatchNode[int, int]):
    """Works on the items of an async source, and counts them."""

    def __init__(self, read: list[int]) -> None:
        super().__init__(max_workers=3)
        self.read = read

    async def prep(self, _: Any) -> AsyncIterator[int]:  # type: ignore[override]
        for number in range(6):
            await asyncio.sleep(number % 2)
            self.read.append(number)
            yield number

    async def exec(self, item: int) -> int:
        await asyncio.sleep(item % 3)
        return item


def what_is_read_is_accounted_for() -> None:
    """Of a batch behind an async source that is cancelled at every step."""

    async def run(shared: dict[str, list[Any]]) -> None:
        shared.update(read=[], events=[])
        await Reads(shared["read"]).run_async({}, observers=[shared["events"].append])

    def check(shared: dict[str, list[Any]]) -> None:
        ended = [e for e in shared.get("events", ()) if isinstance(e, ItemFinished | ItemFailed)]
        assert len(ended) == len(shared.get("read", ())), f"reported as ended: {ended}"

    cancel_everywhere(run, {}, seeds=3, check=check)
