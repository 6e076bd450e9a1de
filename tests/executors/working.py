"""Nodes that work in processes, which import this module and need not load pytest for it."""

import asyncio
import mmap
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from kaygraph import Node, ParallelBatchNode
from kaygraph.executors.memory import resident
from tests.calls import Keeps

MB = 1_000_000
END = 1000 * MB  # where an item that nobody stops gives up, so that the machine survives

LEFT = list[bytes]()  # what items leave in a process


class Works(Node[Any, Any]):
    """Does in a process what its item says."""

    def exec(self, item: Any) -> Any:
        kind, value = item
        match kind:
            case "square":
                return value * value
            case "pid":
                return os.getpid()
            case "held":
                return resident()
            case "fill":  # and let go of it
                return len(b"x" * value)
            case "leave":  # and keep it
                LEFT.append(b"x" * value)
                return os.getpid()
            case "raise":
                raise value
            case "refuse":
                raise RefusedError(value, "floats")
            case "grow":
                self.grow(lambda: b"x" * MB, value)
            case "grow shared":  # which RLIMIT_DATA does not see
                self.grow(self.shared_page, value)
            case "reserve":  # at once, and touch none of it
                return len(bytes(value))
            case "map":
                return mmap.mmap(-1, value, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            case "hang":
                Path(value).write_text(str(os.getpid()))
                time.sleep(600)
            case "leave a thread":
                threading.Thread(target=time.sleep, args=(600,)).start()
                return os.getpid()
        return None

    def grow(self, more: Any, notes: str) -> None:
        """Hold more and more, a megabyte at a time, and note how much."""
        held = list[Any]()
        with open(notes, "r+b", buffering=0) as note:
            while len(held) * MB < END:
                held.append(more())
                os.pwrite(note.fileno(), b"%10d" % len(held), 0)

    def shared_page(self) -> mmap.mmap:
        page = mmap.mmap(-1, MB)
        page.write(b"x" * MB)
        return page


class Heavy(Works):
    """Takes 80 MB by itself where it is unpickled."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)
        self.ballast = b"x" * (80 * MB)


class RefusedError(MemoryError):
    """Pickles and does not come back."""

    def __init__(self, shape: int, kind: str) -> None:
        super().__init__(f"{shape} of {kind}")


class InProcess(Keeps):
    """Does in a process what its item says."""

    run_in = "process"

    def prep(self, shared: Any) -> Any:
        return shared["item"]

    def exec(self, item: Any) -> Any:
        kind, value = item
        match kind:
            case "square":
                return value * value, os.getpid()
            case "raise":
                raise KeyError(value)
            case "exit":
                os._exit(value)
            case "hang":
                Path(value).write_text(str(os.getpid()))
                time.sleep(600)
            case "lambda":
                return lambda: value
        return None


class ManyInProcess(ParallelBatchNode[Any, Any]):
    run_in = "process"

    def prep(self, _: Any) -> range:
        return range(6)

    async def exec(self, item: int) -> tuple[int, int]:
        await asyncio.sleep(0)
        return item * item, os.getpid()

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


class PidOf(Node[Any, Any]):
    """Notes the process that it ran in."""

    run_in = "process"

    def exec(self, _: Any) -> int:
        return os.getpid()

    def post(self, shared: Any, _: Any, pid: int) -> None:
        shared.setdefault("pids", []).append(pid)


class PidOfEach(ParallelBatchNode[Any, int]):
    """Gives for each of two items the process that it ran in."""

    run_in = "process"

    def prep(self, _: Any) -> range:
        return range(2)

    def exec(self, _: Any) -> int:
        return os.getpid()


class Yields(ParallelBatchNode[Any, Any]):
    """Yields numbers in a process up to its item, or for ever; notes in a file how far it came."""

    def __init__(self, file: Path | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.file = file

    def exec(self, item: Any) -> Iterator[Any]:  # type: ignore[override]
        kind, last = item
        try:
            for number in count() if last is None else range(last):
                self.note(f"{number}\n")
                yield os.getpid() if kind == "pid" else threading.get_ident()
                if kind == "wait":
                    time.sleep(0.2)
            if kind == "raise":
                raise ConnectionError(last)
            if kind == "die":
                time.sleep(0.2)  # what it has yielded goes on
                os._exit(3)
        finally:
            self.note("closed\n")

    def note(self, line: str) -> None:
        if self.file is not None:
            with self.file.open("a") as file:
                file.write(line)


class Awaits(ParallelBatchNode[Any, Any]):
    """Yields numbers in a process, on a loop of its own."""

    async def exec(self, item: int) -> AsyncIterator[int]:  # type: ignore[override]
        for number in range(item):
            await asyncio.sleep(0)
            yield number
