"""Nodes that work on a cluster's workers, and tell what happens there in files."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from kaygraph import Node, ParallelBatchNode, Remote
from kaygraph.executors import at_worker
from tests.executors.failing import Unloadable

LONG_S = 600.0  # what nobody waits for
LOOK_S = 0.005


class Many(ParallelBatchNode[Any, Any]):
    """Works on given items, and keeps the results."""

    def __init__(self, items: Any = (), **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        items, self.items = self.items, ()  # they do not go with the node
        return items

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


class Squares(Many):
    def exec(self, number: int) -> Any:
        return number * number


class Sizes(Many):
    """Takes two milliseconds for each, so that a chunk has about fifty."""

    def exec(self, item: bytes) -> int:
        time.sleep(0.002)
        return len(item)


class Marks(Many):
    """Gives what no other call gives."""

    def exec(self, _: Any) -> Any:
        return uuid4().hex


class Travels(Many):
    """Counts in each process how often it came there."""

    came = 0

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)
        Travels.came += 1

    def exec(self, _: Any) -> Any:
        return os.getpid(), Travels.came


class Pids(Many):
    def exec(self, _: Any) -> int:
        return os.getpid()


class Waits(Many):
    """Waits until a file is there."""

    def exec(self, path: str) -> int:
        until = time.monotonic() + LONG_S
        while not os.path.exists(path) and time.monotonic() < until:
            time.sleep(LOOK_S)
        return os.getpid()


def note(path: str, text: str) -> None:
    Path(path).write_text(text)


class Noting(Many):
    """Notes in a file of each item that it has begun, and whether it was cancelled."""

    async def exec(self, path: str) -> None:
        note(path, "begun")
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            note(path, "cancelled")
            raise


class Sleeps(Many):
    """Notes that it has begun, and cannot be stopped; gives the process."""

    def exec(self, item: tuple[str, float]) -> int:
        path, seconds = item
        note(path, str(os.getpid()))
        time.sleep(seconds)
        return os.getpid()


class One(Node[Any, Any]):
    def exec(self, _: Any) -> int:
        return os.getpid()

    def post(self, shared: Any, _: Any, pid: int) -> None:
        shared["pid"] = pid


class Source:
    """Counts how many of its items were taken."""

    def __init__(self, items: Any) -> None:
        self.items, self.taken = items, 0

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            self.taken += 1
            yield item


class Steps(Many):
    """Notes each item that it begins, in a file of its process; gives the item and the attempt."""

    def __init__(self, items: Any, folder: str, **settings: Any) -> None:
        super().__init__(items, **settings)
        self.folder = folder

    def exec(self, item: int) -> tuple[int, int]:
        with open(f"{self.folder}/{os.getpid()}", "a") as file:
            file.write(f"{item}\n")
        time.sleep(0.01)
        return item, self.attempt


class Poison(Many):
    """Ends its process at one item, and notes that."""

    DEADLY = 7

    def __init__(self, items: Any, path: str, **settings: Any) -> None:
        super().__init__(items, **settings)
        self.path = path

    def exec(self, item: int) -> int:
        time.sleep(0.01)
        if item == self.DEADLY:
            with open(self.path, "a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return item


class Slow(Many):
    """Takes ten times as long in one process as in others."""

    def __init__(self, items: Any, slow: int, **settings: Any) -> None:
        super().__init__(items, **settings)
        self.slow = slow

    def exec(self, _: Any) -> int:
        time.sleep(0.1 if os.getpid() == self.slow else 0.01)
        return os.getpid()


class Meets(Many):
    """Waits until so many processes work on items at the same time."""

    def __init__(self, items: Any, folder: str, number: int, **settings: Any) -> None:
        super().__init__(items, **settings)
        self.folder, self.number = folder, number

    def exec(self, _: Any) -> int:
        note(f"{self.folder}/{os.getpid()}", "")
        while len(os.listdir(self.folder)) < self.number:
            time.sleep(LOOK_S)
        return os.getpid()


def forget_nodes() -> None:
    """Have a worker let go of its nodes, as if it had got many others."""
    at_worker._nodes.clear()


class Says(Many):
    """Says something of each item; fails at one."""

    def exec(self, number: int) -> str:
        self.say(f"about {number}")
        if number == 2:
            raise ValueError(number)
        return self.idempotency_key


class WaitsAtOne(Waits):
    """Gives each item back; where it is a path, when there is a file."""

    leaves = False

    def exec(self, path: str) -> Any:
        if path:
            Waits.exec(self, path)
        return Remote(path) if self.leaves else path


class Speaks(Waits):
    """Says three things, and waits before the last until there is a file."""

    unloadable = False

    def exec(self, path: str) -> Any:
        self.say("first")
        self.say(Unloadable() if self.unloadable else "second")
        Waits.exec(self, path)
        self.say("third")
