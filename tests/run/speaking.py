"""Nodes that say something; also in processes, which import this module."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import copy_context
from typing import Any

from kaygraph import Graph, MapReduceNode, Node, ParallelBatchNode


class Speaker(ParallelBatchNode[int, int]):
    """Says three things for each item; items below 0 fail."""

    def prep(self, shared: Any) -> Any:
        return shared["items"]


class Def(Speaker):
    def exec(self, item: int) -> int:
        for number in range(3):
            self.say((item, number))
        if item < 0:
            raise ValueError(item)
        return item


class AsyncDef(Speaker):
    async def exec(self, item: int) -> int:
        for number in range(3):
            self.say((item, number))
            await asyncio.sleep(0)
        if item < 0:
            raise ValueError(item)
        return item


class Yields(Speaker):
    def exec(self, item: int) -> Iterator[int]:
        for number in range(3):
            self.say((item, number))
            yield number
        if item < 0:
            raise ValueError(item)


class AsyncYields(Speaker):
    async def exec(self, item: int) -> AsyncIterator[int]:
        for number in range(3):
            self.say((item, number))
            yield number
        if item < 0:
            raise ValueError(item)


class InItsThread(Speaker):
    """Says it in a thread that it begins itself, with a copy of the context."""

    def exec(self, item: int) -> int:
        def speak() -> None:
            for number in range(3):
                self.say((item, number))

        thread = threading.Thread(target=copy_context().run, args=(speak,))
        thread.start()
        thread.join()
        if item < 0:
            raise ValueError(item)
        return item


class Maps(MapReduceNode):
    """Says it as it maps."""

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def map(self, item: int) -> Any:
        for number in range(3):
            self.say((item, number))
        if item < 0:
            raise ValueError(item)
        yield item, 1


class Unpicklable(Node[Any, Any]):
    def exec(self, _: Any) -> None:
        self.say(threading.Lock())


class Odd:
    """Can be pickled, and not unpickled."""

    def __reduce__(self) -> Any:
        return int, ("odd",)


class SaysOdd(Speaker):
    def exec(self, item: int) -> int:
        self.say(Odd() if item == 1 else item)
        return item


class Inner(Node[Any, Any]):
    def exec(self, _: Any) -> None:
        self.say("inner")


class Outer(Node[Any, Any]):
    """Runs another graph where it is, and says something around it."""

    def exec(self, _: Any) -> None:
        self.say("before")
        Graph(Inner(), name="inner").run({})
        self.say("after")


class Endless(Node[Any, Any]):
    """Speaks until it is killed."""

    def exec(self, _: Any) -> None:
        while True:
            self.say("still here")
