"""Map-reduces that run on a cluster, whose workers import this module."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from kaygraph import Drop, MapReduceNode

MB = 1 << 20


class Shuffles(MapReduceNode):
    """Works on given items, and keeps what they come to."""

    def __init__(self, items: Any = (), **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        items, self.items = self.items, ()  # they do not go with the node
        return items

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


class Lists(Shuffles):
    """Its items are pairs already; gives the values of each key, sorted."""

    def map(self, pairs: Any) -> Any:
        return pairs

    def reduce(self, _: Any, values: list[Any]) -> Any:
        return sorted(values)


class Counts(Shuffles):
    """Counts words."""

    def map(self, text: str) -> Any:
        return [(word, 1) for word in text.split()]

    def combine(self, _: Any, ones: list[int]) -> int:
        return sum(ones)

    def reduce(self, _: Any, ones: list[int]) -> int:
        return sum(ones)


class CountsInPlace(Counts):
    """Combines what may be changed, by changing the first."""

    def map(self, text: str) -> Any:
        return [(word, [1]) for word in text.split()]

    def combine(self, _: Any, values: Any) -> Any:
        first, *others = values
        for other in others:
            first[0] += other[0]
        return first

    def reduce(self, _: Any, values: Any) -> Any:
        return sum(value for (value,) in values)


class CountsLater(Counts):
    async def map(self, text: str) -> AsyncIterator[Any]:
        for word in text.split():
            await asyncio.sleep(0)
            yield word, 1

    async def reduce(self, _: Any, ones: list[int]) -> int:
        await asyncio.sleep(0)
        return sum(ones)


class CountsByLength(Counts):
    """Says which keys go together."""

    def partition(self, word: Any) -> int:
        return len(word)


class DropsRare(Counts):
    def reduce(self, _: Any, ones: list[int]) -> int:
        if (number := sum(ones)) < 2:
            raise Drop
        return number


class FailsAtSome(Counts):
    """Fails at the first attempt, and at "bad" at every one."""

    def map(self, text: str) -> Iterator[Any]:
        if self.attempt == 1 or "bad" in text:
            raise ConnectionError(text)
        yield from Counts.map(self, text)


class CannotCombine(Counts):
    def combine(self, _: Any, ones: list[int]) -> int:
        if len(ones) > 1:
            raise ZeroDivisionError
        return ones[0]


class Large(Shuffles):
    """Shuffles a megabyte for each item, and gives little."""

    def map(self, number: int) -> Any:
        yield number % 4, bytes(MB)

    def reduce(self, _: int, values: list[bytes]) -> int:
        return sum(map(len, values))


class Apart:
    """Its equals are written in different ways."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Apart)

    def __hash__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return f"Apart({self.number})"


class ByApart(Shuffles):
    def map(self, number: int) -> Any:
        return [(Apart(number), 1)]


class KillsOnce(Counts):
    """Its ``reduce`` ends the process, once."""

    def __init__(self, items: Any, path: str, **settings: Any) -> None:
        super().__init__(items, **settings)
        self.path = path

    def reduce(self, key: Any, ones: list[int]) -> int:
        try:
            Path(self.path).touch(exist_ok=False)
        except FileExistsError:
            return super().reduce(key, ones)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Slowly(Lists):
    """Takes its time, and notes in a file of each process how much it has done."""

    def __init__(self, items: Any, folder: str, **settings: Any) -> None:
        super().__init__(items, **settings)
        self.folder = folder

    def map(self, pairs: Any) -> Any:
        self.note()
        return pairs

    def reduce(self, key: Any, values: list[Any]) -> Any:
        self.note()
        return super().reduce(key, values)

    def note(self) -> None:
        with open(f"{self.folder}/{os.getpid()}", "a") as file:
            file.write("x")
        time.sleep(0.01)
