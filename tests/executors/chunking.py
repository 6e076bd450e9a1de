"""Nodes whose items go to worker processes in chunks."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from kaygraph import Drop, ParallelBatchNode
from tests.executors.failing import Busy


class Chunked(ParallelBatchNode[Any, Any]):
    """Does what an item says, and writes down first which items it was called with.

    An item is ``(number, kind)``, or that and a value.
    """

    run_in = "process"
    max_workers = 1

    def __init__(self, notes: Path, items: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.notes, self.items = str(notes), items

    def prep(self, shared: Any) -> Any:
        items, self.items = self.items, ()  # they do not go with the node
        return items

    def exec(self, item: tuple[Any, ...]) -> Any:
        number, kind, *value = item
        with open(self.notes, "a") as notes:
            notes.write(f"{number}\n")
        return getattr(self, f"_{kind}")(number, *value)

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["results"] = exec_res

    def _ok(self, number: int) -> int:
        return number

    def _pid(self, number: int) -> int:
        return os.getpid()

    def _known(self, number: int) -> Any:
        return number, self.attempt, dict(self.params)

    def _raise(self, number: int) -> None:
        raise Busy(503, "slow")

    def _drop(self, number: int) -> None:
        raise Drop("not wanted")

    def _die(self, number: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _exit(self, number: int) -> None:
        os._exit(7)

    def _hang(self, number: int) -> None:
        time.sleep(600)

    def _brief(self, number: int, seconds: float) -> int:
        time.sleep(seconds)
        return number

    def _lock(self, number: int) -> Any:
        return threading.Lock()

    def _large(self, number: int, size: int) -> bytes:
        return bytes([number % 256]) * size

    def _fork(self, number: int) -> int:
        if os.fork():
            os.wait()
        return number

    def _wait(self, number: int, path: str) -> int:
        """Make a file, and wait until there is another one."""
        Path(f"{path}.begun").touch()
        while not Path(f"{path}.end").exists():
            time.sleep(0.005)
        return number
