"""Items that wait: they hold up no others, keep no worker, and see nothing of each other."""

import asyncio
import random
from collections import Counter
from contextvars import ContextVar
from typing import Any

from kaygraph import ParallelBatchNode, Retry
from tests.planted.exploring import assert_holds

WAIT_S = 50.0
ITEM: ContextVar[int] = ContextVar("item", default=-1)


class Turns(ParallelBatchNode[int, int]):
    """A second an item, one at a time of each key; some fail at first, and come again later."""

    def __init__(self, items: list[int], again: set[int], **settings: Any) -> None:
        retry = Retry(attempts=2, wait=WAIT_S)
        super().__init__(limit_by=lambda item: item % 2, retry=retry, **settings)
        self.items, self.again = items, again
        self.pulled = self.done = self.ahead = self.idle = 0
        self.begun: list[tuple[float, int]] = []
        self.running: Counter[int] = Counter()
        self.wrong: list[str] = []

    def prep(self, _: Any) -> Any:
        for item in self.items:
            self.pulled += 1
            yield item

    async def exec(self, item: int) -> int:
        if ITEM.get() != -1:
            self.wrong.append(f"item {item} has seen what item {ITEM.get()} has set")
        ITEM.set(item)
        self.begun.append((asyncio.get_running_loop().time(), item))
        workers = len(asyncio.all_tasks()) - 1
        self.idle = max(self.idle, workers - (self.pulled - self.done))
        self.running[item % 2] += 1
        if self.running[item % 2] > 1:
            self.wrong.append(f"{self.running[item % 2]} of a key at once")
        await asyncio.sleep(1)
        self.running[item % 2] -= 1
        if item in self.again and self.attempt == 1:
            raise LookupError(item)
        self.done += 1
        self.ahead = max(self.ahead, self.pulled - len(self.begun))
        return item


async def wait(_: Any) -> None:
    """Run a batch whose items stand in line for two keys, sorted by them, and come again."""
    items = sorted(range(random.randint(30, 40)), key=lambda item: (item % 2, item))
    again = set(random.sample(items, 6))
    workers, waiting = random.randint(2, 4), random.choice([10, 100])
    node = Turns(items, again, max_workers=workers, max_waiting=waiting)
    await node.run_async({})
    assert not node.wrong, node.wrong
    first = [at for at, item in node.begun][: len(items)]
    most = max(Counter(item % 2 for item in items).values())
    if waiting == 100:  # both keys have an item at any time
        assert first[-1] < most, f"the last began after {first[-1]:g} s, with {most} of a key"
    assert node.ahead <= workers + waiting, f"{node.ahead} items were taken up and had not begun"
    assert node.idle <= workers, f"{node.idle} workers had no item"


def items_that_wait_hold_up_nobody() -> None:
    """Batches in which some items wait, in any order of tasks."""
    assert_holds(wait, seeds=20)
