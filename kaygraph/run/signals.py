"""SIGINT and SIGTERM under ``run()``: the first one drains the run, the second one ends it."""

import asyncio
import contextlib
import itertools
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..errors import RunInterrupted
from .run import Run

T = TypeVar("T")

NUMBERS = (signal.SIGINT, signal.SIGTERM)

DEFAULTS = (signal.default_int_handler, signal.SIG_DFL)

# How long a run has for its clean-up after a second signal; the process is gone within a second.
LAST_S = 0.7

FLUSH_S = 0.1


class Signals:
    """Handles signals while a run goes on in the main thread; a handler of the user's own stays.

    Each signal is written to a pipe the moment it comes, in whichever thread that is. Who comes to
    it first reads it from there: the handler, which the main thread calls between two steps of
    Python; the loop, which it wakes; or, where the run has threads and the main one may never be
    interrupted, a thread of its own.
    """

    def __init__(self, run: Run, grace: float | None) -> None:
        self._run, self._grace = run, grace
        self._number: int | None = None
        self._again = False
        self._counts = itertools.count(1)
        self._last = threading.Timer(LAST_S, self._exit)
        self._watcher: threading.Thread | None = None
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
        if not numbers:
            return asyncio.run(work)
        error: BaseException | None = None
        restore = self._listen(numbers)
        try:
            return asyncio.run(self._begun(work))
        except BaseException as failure:
            error = failure
            raise
        finally:
            try:
                self._take()
                if self._number is not None:
                    drained = not self._again and not self._run.expired
                    cause = None if isinstance(error, asyncio.CancelledError) else error
                    raise RunInterrupted(self._number, drained) from cause
            finally:
                restore()
                del error  # it holds this frame: no cycle may keep them alive

    def _listen(self, numbers: list[signal.Signals]) -> Callable[[], None]:
        """Have the signals written to a pipe; return what puts all back as it was."""
        self._numbers = numbers
        self._pipe, end = os.pipe()
        for descriptor in (self._pipe, end):
            os.set_blocking(descriptor, False)
        before = signal.set_wakeup_fd(end, warn_on_full_buffer=False)
        handlers = [signal.signal(number, self._take) for number in numbers]
        self._run.threaded = self._watch

        def restore() -> None:
            for number, handler in zip(numbers, handlers, strict=True):
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            os.close(end)  # which ends the watcher
            if self._watcher is not None:
                self._watcher.join()
            os.close(self._pipe)
            self._last.cancel()  # nothing is in the way any more; what follows has its time
            if self._last.is_alive():
                self._last.join()

        return restore

    async def _begun(self, work: Coroutine[Any, Any, T]) -> T:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._loop.add_reader(self._pipe, self._take)
        if self._number is not None:  # it came before there was a loop
            self._drain()
        try:
            return await work
        except Exception as error:
            if self._number is not None:  # what is raised in its place shows no traceback
                message = "the run failed while it was drained"
                self._loop.call_exception_handler({"message": message, "exception": error})
            raise
        finally:
            self._loop.remove_reader(self._pipe)

    def _watch(self) -> None:
        """Read in a thread from now on."""

        def read() -> None:
            while select.select([self._pipe], [], []) and self._take():
                pass

        self._watcher = threading.Thread(target=read, name="kaygraph-signals", daemon=True)
        self._watcher.start()

    def _take(self, *_: Any) -> bool:
        """Act on the signals that have come; return whether more may come."""
        try:
            came = os.read(self._pipe, 4096)
        except BlockingIOError:
            return True
        for number in came:
            if number in self._numbers:
                self._came(number, next(self._counts))
        return bool(came)

    def _came(self, number: int, count: int) -> None:
        if count == 1:
            self._number = number
            # At once, since code that holds the loop may be followed by another node, or item.
            self._run.draining = self._run.marked = True
            self._call(self._drain)
        elif count == 2:
            self._again = True
            self._call(self._cancel)
            self._last.daemon = True
            self._last.start()

    def _call(self, step: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nothing to stop
            if self._loop is not None:
                self._loop.call_soon_threadsafe(step)

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
