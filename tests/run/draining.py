"""Runs that are drained, and what they are made of."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

from kaygraph import BaseNode, Node, Pipeline
from kaygraph.testing import assert_accounted
from kaygraph.testing.capture import runs_begun
from tests.stages import Stage

AnyNode = BaseNode[Any, Any]


class Step(Node[Any, Any]):
    """Takes so many seconds, notes that it began and ended, and names a way on."""

    def __init__(self, log: list[str], name: str, seconds: float = 2, action: str = "default"):
        super().__init__(name=name)
        self.log, self.seconds, self.action = log, seconds, action

    def prep(self, _: Any) -> None:
        self.log.append(f"{self.name} began")

    async def exec(self, _: Any) -> None:
        await asyncio.sleep(self.seconds)

    def post(self, _: Any, __: Any, ___: Any) -> str:
        self.log.append(f"{self.name} ended")
        return self.action


class Batch(Stage):
    """A batch of items from a source; its results are noted in the shared store."""

    def __init__(self, items: Any, seconds: Any = 1.0, **settings: Any) -> None:
        super().__init__(seconds, **settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        return self.items

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared[self.name] = results


class Kept(Pipeline):
    """A pipeline whose results are noted in the shared store."""

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared[self.name] = results


class Source:
    """Endless numbers, taken in many ways; counts those that were pulled."""

    def __init__(self, wait: float = 0.0) -> None:
        self.wait = wait
        self.pulled = 0
        self.closed = False

    def __iter__(self) -> Iterator[int]:
        try:
            for number in count():
                self.pulled += 1
                yield number
        finally:
            self.closed = True

    async def slowly(self) -> AsyncIterator[int]:
        """Each number after a wait; the later the number, the longer."""
        try:
            for number in count():
                await asyncio.sleep(self.wait * (1000 if number == 3 else 1))
                self.pulled += 1
                yield number
        finally:
            self.closed = True

    def of(self, kind: str) -> Any:
        match kind:
            case "iterator":
                return iter(self)
            case "list":
                return list(range(1000))
            case _:
                return self.slowly()


async def drained(node: AnyNode, at: float, shared: Any = None, **settings: Any) -> str | None:
    """Begin a run, drain it after so many seconds and return its last action.

    Whatever happens, no task is left, every permit is back and every item is accounted for.
    """
    before = asyncio.all_tasks()
    events: list[Any] = []
    with runs_begun() as runs:
        task = node.launch({} if shared is None else shared, observers=[events.append])
        if at:
            await asyncio.sleep(at)
        task.drain(**settings)
        assert task.draining
        try:
            return await task
        finally:
            assert asyncio.all_tasks() == before
            assert [run.leaks() for run in runs] == [[]]
            assert_accounted(events)


def now() -> float:
    return asyncio.get_running_loop().time()
