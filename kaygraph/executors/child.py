"""How a worker process is started, waited for and ended, as its run sees it."""

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from ..errors import WorkerStartError
from .chunk import IN_PROCESSES
from .memory import resident
from .results import ResultReader
from .worker import NUMBERS, serve

# A child is a fresh interpreter: a fork of a process with threads can deadlock.
CONTEXT = multiprocessing.get_context("spawn")

# The memory of a process is looked at again before it can have reached its limit.
FASTEST_GROWTH = 4e9  # bytes per second, more than one thread can fill

SHORTEST_LOOK_S, LONGEST_LOOK_S = 0.002, 0.05

# What ends a process whose native code has failed.
CRASHES = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT")


class Child(NamedTuple):
    """A process that was started, and our ends of the pipes to it.

    Attributes:
        results: Of the items of chunks; None where processes do not get any (on Windows).
    """

    process: BaseProcess
    connection: "Connection[Any, Any]"
    results: ResultReader | None


def start() -> Child:
    """Start a worker process.

    Raises:
        WorkerStartError: This is itself a process that is still being started: a script starts
            its run where it is imported.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise WorkerStartError(
            "this script starts its run when a worker process imports it: put the run under "
            "if __name__ == '__main__':"
        )
    connection, theirs = CONTEXT.Pipe()
    ours = [connection]
    given = [theirs]
    if IN_PROCESSES:
        results, written = CONTEXT.Pipe(duplex=False)
        ours.append(results)
        given.append(written)
    process = CONTEXT.Process(target=serve, args=given, daemon=True)
    try:
        with _signals_held(), _main_that_can_be_found():
            process.start()
    except BaseException:
        for end in ours:
            end.close()
        raise
    finally:
        for end in given:
            end.close()
    reader = ResultReader(ours[1], process.sentinel) if IN_PROCESSES else None
    return Child(process, connection, reader)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Start a process that gets no signal before it can ignore it: it inherits this mask."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # on its way it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _main_that_can_be_found() -> Iterator[None]:
    """Hide the ``__file__`` of a script that was read from a pipe: a process would look for it."""
    main = vars(sys.modules["__main__"])
    if main.get("__file__") != "<stdin>":
        yield
        return
    del main["__file__"]
    try:
        yield
    finally:
        main["__file__"] = "<stdin>"


class PastLimit(Exception):  # noqa: N818 - it is not shown
    """A process has grown past its limit, to so many bytes."""

    def __init__(self, held: int, limit: int) -> None:
        super().__init__()
        self.held, self.limit = held, limit


def received(
    pid: int | None,
    connection: "Connection[Any, Any]",
    limit: int | None,
    seconds: float | None = None,
) -> bytes:
    """Return the next message of a process.

    Args:
        limit: Bytes that the process may hold meanwhile.
        seconds: How long to wait for it, by the system's clock.

    Raises:
        PastLimit: The process has grown past its limit.
        TimeoutError: The message has not come in time.
        EOFError: The process has ended.
    """
    if limit is None:
        if seconds is not None and not connection.poll(seconds):
            raise TimeoutError
        return connection.recv_bytes()
    end = math.inf if seconds is None else time.monotonic() + seconds
    look_s = SHORTEST_LOOK_S
    while not connection.poll(look_s):
        held = resident(pid)
        if held > limit:
            raise PastLimit(held, limit)
        if time.monotonic() > end:
            raise TimeoutError
        look_s = min(max((limit - held) / FASTEST_GROWTH, SHORTEST_LOOK_S), LONGEST_LOOK_S)
    return connection.recv_bytes()


def kill_group(pid: int | None) -> None:
    """Kill a process and those that its ``exec`` has started, where there are groups."""
    if hasattr(os, "killpg") and pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def how_it_ended(code: int | None) -> str:
    """Say what an exit code means."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return (
            "was killed by SIGKILL, as the system does when it runs out of memory (use fewer "
            "workers, or set memory_limit),"
        )
    if name in CRASHES:
        return f"crashed in native code ({name})"
    return f"was killed by {name}"
