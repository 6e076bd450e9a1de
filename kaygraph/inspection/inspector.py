"""Inspects a run from its start, from any thread."""

import asyncio
import sys
import time
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace
from threading import get_ident

from .._formatting import error_text
from ..events import Event, RunFinished, RunStarted
from ..run.frame import FRAME
from ..run.in_flight import is_held
from ..run.run import Run
from ..snapshot import RunSnapshot, RunState, Waiting
from .nodes import counted_snapshots
from .stacks import thread_calls
from .taking import take
from .tally import Tally
from .whereabouts import exec_place

LEAST_S = 0.1  # between two snapshots, for displays
SHARE = 0.01  # of the time that snapshots may take
PATIENCE_S = 0.25  # for a loop that a hook blocks


class Inspector:
    """An observer that reports at any time what a run is doing, and why it waits.

    .. code-block:: python

        inspector = Inspector()
        graph.run(shared, observers=[inspector])

    While it runs, another thread, or a task of the same loop, calls ``inspector.snapshot()``. It
    gets no event of an item that succeeds, so items cost as much as without it. An Inspector
    inspects one run at a time: the first that starts after the previous one has ended.
    """

    items = False

    def __init__(self) -> None:
        self.tally = Tally()
        self._run: Run | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None
        self._name = ""
        self._began = 0.0
        self._last: RunSnapshot | None = None
        self._cost_s = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            if self._run is None:
                self._begin(event)
            return
        if self._run is None:
            return
        self.tally.add(event)
        if isinstance(event, RunFinished) and event.node == self._name:
            self._end(event)

    def _begin(self, event: RunStarted) -> None:
        self.tally, self._last, self._cost_s = Tally(), None, 0.0
        self._name, self._began = event.node, event.at
        self._loop, self._thread = asyncio.get_running_loop(), get_ident()
        self._run = FRAME.get().run

    def _end(self, event: RunFinished) -> None:
        assert self._run is not None
        error = None if event.error is None else error_text(event.error)
        state: RunState = "finished" if event.error is None else "failed"
        nodes = counted_snapshots(self.tally)
        self._last = RunSnapshot(
            self._run.id, self._name, time.time(), state, event.seconds, nodes, error=error
        )
        self._run = self._loop = None

    @staticmethod
    def look_at(run: Run) -> RunSnapshot:
        """Return what a run of this thread is doing; what ended before was not counted."""
        return take(run, get_ident())

    @property
    def run(self) -> Run | None:
        """The current run; None before and after it."""
        return self._run

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Its event loop."""
        return self._loop

    @property
    def interval(self) -> float:
        """The least seconds to wait until the next snapshot, so that they cost 1 %."""
        return max(LEAST_S, self._cost_s / SHARE)

    def snapshot(self) -> RunSnapshot:
        """Return what the run is doing now, or how it ended.

        From a thread other than the run's: if a hook blocks the loop for longer than a quarter
        of a second, the first of ``waits`` says which.

        Raises:
            ValueError: No run has started.
        """
        run, loop = self._run, self._loop
        if run is None or loop is None:
            if self._last is None:
                raise ValueError(
                    "no run has started: pass it to one, as in run(shared, observers=[inspector])"
                )
            return self._last
        if get_ident() == self._thread:
            return self._take(run)
        asked = self.request()
        try:
            return asked.result(PATIENCE_S)
        except (TimeoutError, CancelledError):
            asked.cancel()
            return self._from_outside(run)

    def request(self) -> "Future[RunSnapshot]":
        """Have the run's loop take a snapshot in its next iteration; for any thread."""
        answer: Future[RunSnapshot] = Future()
        run, loop = self._run, self._loop

        def answered() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(self.snapshot())
                except BaseException as error:
                    answer.set_exception(error)

        if run is None or loop is None:
            answered()
            return answer
        try:
            loop.call_soon_threadsafe(answered)
        except RuntimeError:  # it is closed, and the run never ended
            answer.set_result(self._from_outside(run))
        return answer

    def explain(self) -> str:
        """Return why the run makes no progress: one line for each wait."""
        return self.snapshot().explain()

    def _take(self, run: Run, held: Waiting | None = None) -> RunSnapshot:
        began = time.thread_time()  # not of others, which may hold the interpreter
        taken = take(run, self._thread, self.tally, self._began, held)
        self._cost_s = time.thread_time() - began
        return taken

    def _from_outside(self, run: Run) -> RunSnapshot:
        """Inspect a run whose loop is blocked."""
        thread = self._thread
        assert thread is not None
        frame = sys._current_frames().get(thread)
        held = None
        if is_held(frame):
            calls = thread_calls(thread)
            place = exec_place(calls) or "a hook"
            text = f"the event loop is blocked by a hook, at {place}: nothing else can run"
            held = Waiting(run.name, "loop", 1, place, text)
        with suppress(RuntimeError):
            return self._take(run, held)
        return replace(self._last or RunSnapshot(run.id, run.name, time.time()), waits=())
