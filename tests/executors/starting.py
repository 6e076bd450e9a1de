"""What an exec may do to its process, and with processes of its own."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from kaygraph import BatchNode
from tests.calls import Keeps


class Does(Keeps):
    """Calls, in a process, the function of this module that its item names."""

    run_in = "process"

    def prep(self, shared: Any) -> Any:
        return shared["item"]

    def exec(self, item: Any) -> Any:
        name, *arguments = item
        return globals()[name](*arguments)


class DoesEach(BatchNode[Any, Any]):
    """The same for several items, one after another in one process."""

    run_in = "process"

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def exec(self, item: Any) -> Any:
        return Does.exec(self, item)  # type: ignore[arg-type]

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


def run_in_a_pool() -> int:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(abs, -3).result()


def run_in_a_forked_pool() -> list[int]:
    with multiprocessing.get_context("fork").Pool(1) as pool:  # ended by a SIGTERM
        return pool.map(abs, [-3])


def run_nested() -> int:
    shared = {"item": ("process",)}
    Does().run(shared)
    return int(shared["result"][0] != os.getpid())  # type: ignore[index]


def process() -> tuple[int]:
    return (os.getpid(),)


def end_a_program() -> int:
    """Return how a program ended after the request to end."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    program.terminate()
    return program.wait(60)


def wait_for_a_program(pids: str) -> None:
    """Start a program that does not end, and note it."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pids).write_text(str(program.pid))
    program.wait()


def die_with_a_program(pids: str) -> None:
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pids).write_text(str(program.pid))
    os.kill(os.getpid(), signal.SIGKILL)


def die(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(600)


def crash() -> None:
    ctypes.string_at(0)


def terminate() -> str:
    """Get the signal that is sent to all processes of a service."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)
    return "went on"


def fork() -> str:
    return "the process" if os.fork() else "its copy"


def close_stdin() -> str:
    sys.stdin.close()
    os.close(0)
    return "closed"


def leave(code: int) -> None:
    sys.exit(code)
