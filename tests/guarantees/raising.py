"""Nodes that raise any kind of error from any of their hooks; at the top level, for processes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from kaygraph import (
    AsyncNode,
    BatchGraph,
    BatchNode,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    compat,
)


@dataclass(frozen=True)
class FrozenError(Exception):
    """Takes neither attributes nor notes."""

    code: int


class TwoArgumentsError(Exception):
    """Cannot be made again from its ``args``."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


class NotelessError(Exception):
    """Refuses notes, and has slots."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def add_note(self, note: str, /) -> None:
        raise TypeError("no notes")


class OwnBaseError(BaseException):
    """Is no Exception."""


KINDS: dict[str, Any] = {
    "ordinary": lambda: ValueError("no"),
    "frozen": lambda: FrozenError(503),
    "two arguments": lambda: TwoArgumentsError(503, "busy"),
    "no notes": lambda: NotelessError(503),
    "no Exception": lambda: OwnBaseError("no"),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("no"),
    "SystemExit": lambda: SystemExit(3),
    "awaited cancellation": lambda: asyncio.CancelledError("theirs"),
    "group": lambda: ExceptionGroup("two", [ValueError("one"), FrozenError(2)]),
    "StopIteration": lambda: StopIteration("no"),
    "StopAsyncIteration": lambda: StopAsyncIteration("no"),
    "GeneratorExit": lambda: GeneratorExit("no"),
}

RAISED: list[BaseException] = []  # what was raised here, in the order


class Raises:
    """Raises one kind of error where it says; ``kind`` is a name, so that it can be sent."""

    kind: str
    where: str

    def __init__(self, where: str, kind: str, **settings: Any) -> None:
        super().__init__(**{"name": "Raises", **settings})
        self.where, self.kind = where, kind

    def at(self, where: str) -> None:
        if where == self.where:
            error = KINDS[self.kind]()
            RAISED.append(error)
            try:
                raise error
            finally:
                del error


class Hooks(Raises, AsyncNode[Any, Any]):
    @asynccontextmanager
    async def lifespan(self, shared: Any) -> AsyncIterator[None]:
        self.at("lifespan, entered")
        yield
        self.at("lifespan, left")

    async def prep(self, shared: Any) -> None:
        self.at("prep")

    async def exec(self, _: Any) -> None:
        if self.where == "fallback":
            raise ValueError("as it should")
        self.at("exec")

    async def post(self, *_: Any) -> None:
        self.at("post")


class WithFallback(Hooks):
    async def exec_fallback(self, _: Any, exc: Exception) -> None:
        self.at("fallback")
        raise exc


class SyncHooks(Raises, Node[Any, Any]):
    def prep(self, shared: Any) -> None:
        self.at("prep")

    def exec(self, _: Any) -> None:
        self.at("exec")

    def post(self, *_: Any) -> None:
        self.at("post")


class Batch(Raises, ParallelBatchNode[Any, Any]):
    def prep(self, shared: Any) -> Any:
        self.at("prep")
        return self.source() if self.where == "source" else range(3)

    def source(self) -> Iterator[int]:
        yield 0
        self.at("source")

    async def exec(self, item: int) -> int:
        if item == 1:
            self.at("exec")
        return item

    def post(self, *_: Any) -> None:
        self.at("post")


class AsyncSourceBatch(Batch):
    async def prep(self, shared: Any) -> AsyncIterator[int]:  # type: ignore[override]
        yield 0
        self.at("source")


class OneByOne(Raises, BatchNode[Any, Any]):
    def prep(self, shared: Any) -> range:
        return range(3)

    async def exec(self, item: int) -> int:
        if item == 1:
            self.at("exec")
        return item


class SyncBatch(Batch):
    def exec(self, item: int) -> int:  # type: ignore[override]
        if item == 1:
            self.at("exec")
        return item


class Yields(Batch):
    async def exec(self, item: int) -> AsyncIterator[int]:  # type: ignore[override]
        yield item
        if item == 1:
            self.at("exec")


class SyncYields(Batch):
    def exec(self, item: int) -> Iterator[int]:  # type: ignore[override]
        yield item
        if item == 1:
            self.at("exec")


class Maps(Raises, MapReduceNode):
    def prep(self, shared: Any) -> range:
        return range(3)

    async def map(self, item: int) -> Any:
        self.at("map")
        return [(item, item)]

    async def reduce(self, key: int, values: Any) -> Any:
        self.at("reduce")
        return values


class SyncMaps(Raises, MapReduceNode):
    def prep(self, shared: Any) -> range:
        return range(3)

    def map(self, item: int) -> Any:
        self.at("map")
        return [(item, item)]

    def reduce(self, key: int, values: Any) -> Any:
        self.at("reduce")
        return values


class Rounds(Raises, BatchGraph):
    def __init__(self, where: str, kind: str) -> None:
        super().__init__(where, kind, start=AsyncNode())

    def prep(self, shared: Any) -> Any:
        self.at("prep")
        return [{}]

    def post(self, *_: Any) -> None:
        self.at("post")


class Compatible(compat.AsyncNode):
    def __init__(self, where: str, kind: str) -> None:
        super().__init__(name="Raises")
        self.where, self.kind = where, kind

    at = Raises.at

    def before_prep(self, shared: Any) -> None:
        self.at("before_prep")

    async def prep_async(self, shared: Any) -> None:
        self.at("prep")

    async def exec_async(self, _: Any) -> None:
        self.at("exec")

    def after_exec(self, *_: Any) -> None:
        self.at("after_exec")

    async def post_async(self, *_: Any) -> None:
        self.at("post")
