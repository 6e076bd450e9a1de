"""``run()`` where a loop already runs in this thread, as in a notebook: in a second thread."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from ..aio.cancelling import cancel
from .in_cell import InCell
from .in_flight import frame_of, in_flight
from .run import Run
from .runner import LoopFactory
from .signals import LAST_S, stopping, write

T = TypeVar("T")

LOOK_S = 0.1  # how long a signal may go unnoticed
START_S = 1.0  # after this, a thread whose start was interrupted no longer starts


class RunInThread(Generic[T]):
    """A run in its own thread and on its own loop, for which this thread waits.

    Args:
        run: The run.
        grace: Seconds for the work in flight after an interrupt; None: as long as it takes.
        announces: Whether to print what an interrupt does.
        loop_factory: Makes the loop; None: the event-loop policy does.
        in_cell: Shows the run while it goes on.
    """

    def __init__(
        self,
        run: Run,
        grace: float | None,
        announces: bool,
        loop_factory: LoopFactory | None,
        in_cell: InCell | None = None,
    ) -> None:
        self._run, self._grace, self._announces = run, grace, announces
        self._loop_factory, self._in_cell = loop_factory, in_cell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._thread: int | None = None
        self._error: BaseException | None = None
        self._ended = False
        # A bare lock: an interrupt in the middle of a Condition would break that.
        self._lock = threading.Lock()
        self._lock.acquire()

    def result(self, launch: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Start the run and wait for its end.

        The first KeyboardInterrupt drains the run, the second cancels it. It is raised when
        the run has ended; a run that does not end after the second is left behind in its thread.
        """
        results: list[T] = []

        async def begin() -> T:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            if self._run.draining:  # interrupted before there was a loop
                self._run.drain()
            return await launch()

        def work() -> None:
            self._thread = threading.get_ident()
            try:
                with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                    results.append(runner.run(begin()))
            except BaseException as error:
                self._error = error
            self._ended = True
            self._lock.release()

        thread = threading.Thread(
            target=copy_context().run, args=(work,), name="kaygraph-run", daemon=True
        )
        try:
            thread.start()
            self._wait(None)
            if self._in_cell is not None:
                self._in_cell.close()
        except KeyboardInterrupt:
            if self._ended or not self._has_started():
                raise
            message = self._interrupted()
            if self._in_cell is not None:
                self._in_cell.close()
            failure = self._error
            cause = None if isinstance(failure, asyncio.CancelledError) else failure
            raise KeyboardInterrupt(message) from cause
        except BaseException:  # something else has interrupted the wait
            self._call(self._cancel)
            self._wait(None)
            raise
        thread.join()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # it holds this frame: avoid a reference cycle
        return results[0]

    def _wait(self, seconds: float | None) -> bool:
        """Wait for the end of the run; return whether it has ended."""
        end = None if seconds is None else time.monotonic() + seconds
        left = LOOK_S
        while not self._ended and left > 0:
            # In steps: a signal just before a wait begins does not end that wait.
            self._lock.acquire(timeout=left)
            if self._in_cell is not None and not self._ended:
                self._in_cell.look()
            left = LOOK_S if end is None else min(LOOK_S, end - time.monotonic())
        return self._ended

    def _has_started(self) -> bool:
        end = time.monotonic() + START_S
        while self._thread is None and time.monotonic() < end:
            time.sleep(0.01)
        return self._thread is not None

    def _interrupted(self) -> str:
        """Drain the run and wait for its end; return how it ended."""
        run = self._run
        try:
            run.halt()
            self._call(run.drain)
            if self._announces:
                frame = None if self._thread is None else frame_of(self._thread)
                write(stopping(in_flight(self._loop, frame), self._grace))
            if not self._wait(self._grace):
                self._call(self._expire)
                self._wait(None)
        except KeyboardInterrupt:
            self._call(self._cancel)
            if not self._wait(LAST_S):
                return "stopped; the work in flight does not end, and was left behind in its thread"
            return "stopped; the work in flight was cancelled"
        if run.expired:
            return f"stopped; the work in flight was cancelled after {self._grace:g} s"
        return "stopped; the work in flight has ended"

    def _call(self, step: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            if self._loop is not None:
                self._loop.call_soon_threadsafe(step)

    def _expire(self) -> None:
        if self._task is not None:
            self._run.expire(self._task)

    def _cancel(self) -> None:
        if self._task is not None:
            cancel(self._task)
