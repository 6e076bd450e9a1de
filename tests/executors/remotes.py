"""Nodes that leave values on a cluster's workers, and nodes that read them there."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from kaygraph import Node, Remote
from tests.executors.clustered import LOOK_S, Many, Meets

MB = 1 << 20


class Makes(Many):
    """Leaves so many bytes of each number."""

    def __init__(self, items: Any = (), size: int = 100, **settings: Any) -> None:
        super().__init__(items, **settings)
        self.size = size

    def exec(self, number: int) -> Remote[bytes]:
        return Remote(bytes([number]) * self.size)


class MakesApart(Meets):
    """Leaves the process, each item in another one."""

    def exec(self, _: Any) -> Remote[int]:  # type: ignore[override]
        return Remote(super().exec(_))


class Nested(Many):
    """Leaves values within others, one of them twice."""

    def exec(self, number: int) -> dict[str, Any]:
        twice = Remote([number])
        return {"one": (twice, [twice]), "other": Remote(number + 1), "plain": number}


class FromShared(Many):
    """Its items are the results of the node before."""

    def prep(self, shared: Any) -> Any:
        return shared["results"]


class Reads(FromShared):
    """Gives the number and how many there are of it."""

    def exec(self, remote: Remote[bytes]) -> tuple[int, int]:
        return remote.value[0], len(remote.value)


class ReadsNested(FromShared):
    def exec(self, item: Any) -> Any:
        first, (second,) = item["one"]
        return first.value is second.value, first.value, item["other"].value, item["plain"]


class ReadsApart(FromShared):
    """Gives the processes that have made and that read each item, each in another one."""

    def __init__(self, folder: str, number: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.folder, self.number = folder, number

    def exec(self, remote: Remote[int]) -> tuple[int, int]:
        Path(self.folder, str(os.getpid())).touch()
        while len(os.listdir(self.folder)) < self.number:
            time.sleep(LOOK_S)
        return remote.value, os.getpid()


class Passes(FromShared):
    """Hands on what it got."""

    def exec(self, remote: Remote[bytes]) -> tuple[Remote[bytes], int]:
        return remote, len(remote.value)


class ReadsAll(Node[Any, Any]):
    """Has all that others have made, in one call; gives how many bytes that are."""

    def prep(self, shared: Any) -> Any:
        return shared["results"]

    def exec(self, remotes: list[Remote[bytes]]) -> int:
        return sum(len(remote.value) for remote in remotes)

    def post(self, shared: Any, _: Any, size: int) -> None:
        shared["size"] = size


class Fetches(Node[Any, Any]):
    """Brings all that there is to the program."""

    async def post(self, shared: Any, _: Any, __: Any) -> None:
        shared["fetched"] = [await remote.fetch() for remote in shared["results"]]


class KillsMakers(Node[Any, Any]):
    """Kills the process that has made the first value, and waits until that is so."""

    async def post(self, shared: Any, _: Any, __: Any) -> None:
        pid = await shared["results"][0].fetch()
        os.kill(pid, signal.SIGKILL)
