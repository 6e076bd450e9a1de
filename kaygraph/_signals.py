"""SIGINT and SIGTERM under ``run()``: the first one drains the run, the second one ends it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

from ._frame import Run
from .errors import RunInterrupted

T = TypeVar("T")

NUMBERS = (signal.SIGINT, signal.SIGTERM)
DEFAULTS = (signal.default_int_handler, signal.SIG_DFL)

# How long a run has for its clean-up after a second signal; the process is gone within a second.
LAST_S = 0.7
FLUSH_S = 0.1


class Signals:
    """Handles signals while a run goes on in the main thread; a handler of the user's own stays.

    The handlers are Python's own kind, not the loop's: they are called while the loop is blocked
    as well.
    """

    def __init__(self, run: Run, grace: float | None) -> None:
        self._run, self._grace = run, grace
        self._number: int | None = None
        self._again = False
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end on a new loop.

        Raises:
            RunInterrupted: A signal came.
        """
        numbers = []
        if threading.current_thread() is threading.main_thread():
            numbers = [n for n in NUMBERS if signal.getsignal(n) in DEFAULTS]
        before = [signal.signal(number, self._came) for number in numbers]
        error: BaseException | None = None
        try:
            return asyncio.run(self._heard(work) if numbers else self._begun(work))
        except BaseException as failure:
            error = failure
            raise
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
            if self._number is not None:
                drained = not self._again and not self._run.expired
                cause = None if isinstance(error, asyncio.CancelledError) else error
                raise RunInterrupted(self._number, drained) from cause

    async def _heard(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work on a loop that every signal wakes.

        One that comes to another thread, or in the moment before the loop begins to wait, would
        not interrupt the wait.
        """
        loop = asyncio.get_running_loop()
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        loop.add_reader(reader, reader.recv, 4096)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            return await self._begun(work)
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(reader)
            reader.close()
            writer.close()

    async def _begun(self, work: Coroutine[Any, Any, T]) -> T:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._number is not None:  # it came before there was a loop
            self._drain()
        return await work

    def _came(self, number: int, _: FrameType | None) -> None:
        first, self._number = self._number is None, self._number or number
        # At once, since code that holds the loop may be followed by another node, or item.
        self._run.draining = self._run.marked = True
        loop = self._loop
        if first:
            if loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self._drain)
        elif not self._again:
            self._again = True
            if loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self._cancel)
            last = threading.Timer(LAST_S, self._exit)
            last.daemon = True
            last.start()

    def _drain(self) -> None:
        self._run.drain()
        if self._grace is not None:
            asyncio.get_running_loop().call_later(self._grace, self._expire)

    def _expire(self) -> None:
        if self._task is not None:
            self._run.expire(self._task)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _exit(self) -> None:
        """What is in the way cannot be stopped: a thread, say. Leave no process behind."""
        if "multiprocessing" in sys.modules:
            for process in sys.modules["multiprocessing"].active_children():
                process.kill()
        assert self._number is not None
        code = 128 + self._number
        flushed = threading.Timer(FLUSH_S, os._exit, (code,))  # whoever is in the way may hold it
        flushed.daemon = True
        flushed.start()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)
