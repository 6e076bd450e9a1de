"""Nodes that note how their calls go or what they return, and a clock to run them on."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from kaygraph import Node, ParallelBatchNode
from kaygraph.testing import simulate


def now() -> float:
    return asyncio.get_running_loop().time()


class Calls(ParallelBatchNode[Any, Any]):
    """Notes when each call begins, and for which item."""

    max_workers = 100

    def __init__(self, items: Any = range(1), seconds: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.items, self.seconds = items, seconds
        self.begun: list[tuple[float, Any]] = []

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, item: Any) -> Any:
        self.begun.append((now(), item))
        await asyncio.sleep(self.seconds)
        return item

    @property
    def starts(self) -> list[float]:
        return [at for at, _ in self.begun]


class Takes(Node[Any, Any]):
    """Takes so many seconds, and notes when it begins and ends."""

    def __init__(self, seconds: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.seconds = seconds
        self.begun: list[float] = []
        self.ended: list[float] = []

    async def exec(self, _: Any) -> float:
        self.begun.append(now())
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.ended.append(now())
        return self.seconds


class Keeps(Node[Any, Any]):
    """Keeps what exec returned."""

    def post(self, shared: Any, _: Any, result: Any) -> None:
        shared["result"] = result


class Gauge:
    """Counts how many calls run at once."""

    def __init__(self) -> None:
        self.running = self.most = 0

    async def __call__(self, seconds: float) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.running -= 1


def most_in_a_window(starts: Sequence[float], per: float) -> int:
    """Return the most calls that began within any stretch of time of so many seconds."""
    return max(sum(start <= at < start + per for at in starts) for start in starts)


def played(*parts: Coroutine[Any, Any, Any] | Callable[[], Coroutine[Any, Any, Any]]) -> float:
    """Run coroutines concurrently on a virtual clock; return when the last has ended."""

    async def play(_: Any) -> None:
        await asyncio.gather(*(part() if callable(part) else part for part in parts))

    return simulate(play, max_steps=5_000).seconds


def after(seconds: float, node: Calls) -> Callable[[], Coroutine[Any, Any, None]]:
    """Return what runs a node so many seconds later."""

    async def run() -> None:
        await asyncio.sleep(seconds)
        await node.run_async({})

    return run
