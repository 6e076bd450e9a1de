"""The loop of a simulation: a virtual clock, a seeded order, and threads that run inline."""

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import partial
from typing import Any
from weakref import WeakSet

from ..aio.tasks import retrieve_exception
from ..run.run import Run
from ._loop import EndlessRunError, SimulationError, running_loop, tasks_of
from ._schedule import Order, Schedule, task_of
from .network.loop import NetworkLoop
from .network.sockets import simulated_sockets

MAX_STEPS = 1_000_000

# How many callbacks the tasks of a run that was given up may take to end.
ENDING_STEPS = 10_000

ACTIVE = threading.local()  # .loop: the simulation that runs in this thread


class InlineThreads(Executor):
    """Threads of a simulation: a call runs at once, in the thread of the loop.

    The call is not told of the loop, as in a thread. What it sleeps with ``time.sleep`` is how
    long it takes: its result comes when that time has passed on the loop's clock.
    """

    def __init__(self, loop: "SimulationLoop") -> None:
        self._loop = loop
        self.slept: float | None = None  # by the call that runs now
        self.running: list[Future[Any]] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        around, self.slept = self.slept, 0.0
        running = running_loop()
        asyncio._set_running_loop(None)
        try:
            finish = partial(future.set_result, function(*args, **kwargs))
        except BaseException as error:
            finish = partial(future.set_exception, error)
        finally:
            asyncio._set_running_loop(running)
            seconds, self.slept = self.slept, around
        if seconds:
            self.running = [*(one for one in self.running if not one.done()), future]
            self._loop.call_later(seconds, finish)
        else:
            finish()
        return future

    def sleep(self, seconds: float) -> None:
        """Stand in for ``time.sleep``: a call takes longer, the loop stands still."""
        if self.slept is None:
            self._loop.advance(seconds)
        else:
            self.slept += seconds


class SimulationLoop(NetworkLoop):
    """A loop on which the same seed is the same run.

    Args:
        seed: Of the schedule, of ``random``, and of ``Faults`` without a seed of their own.
        deviations: See Schedule.
        max_steps: How many steps it may take; a callback is one, and so is a jump of the clock.
        max_seconds: How far its clock may go.
        note: Called with every Order that is not asyncio's own.
    """

    def __init__(
        self,
        seed: int = 0,
        deviations: int | None = None,
        max_steps: int = MAX_STEPS,
        max_seconds: float | None = None,
        note: Callable[[Order], object] | None = None,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.threads = InlineThreads(self)
        self.schedule = Schedule(seed, deviations)
        self.steps = 0
        self.complaints: list[str] = []
        self.abandoned: list[str] = []  # async generators that were left to the garbage collector
        self._max_steps, self._max_seconds = max_steps, max_seconds
        self._alarm_at = max_steps + 1
        self._alarm: Callable[[], object] = self._give_up
        self._note = note
        self._made = 0
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.set_task_factory(_made_task)  # the first step of each is one of the schedule

    def alarm(self, at_step: int, call: Callable[[], object]) -> None:
        """Call something before a step, once; steps are counted from 1."""
        self._alarm_at, self._alarm = at_step, call

    def _give_up(self) -> None:
        raise EndlessRunError(
            f"the run has not ended after {self._max_steps} steps, at {self._seconds:g} s of its "
            "clock; max_steps= allows more"
        )

    def _let_threads_run(self) -> None:
        pass  # there are none

    # --- order ----------------------------------------------------------------------------------

    def _step(self) -> None:
        self.steps += 1
        if self.steps >= self._alarm_at:
            call = self._alarm
            self._alarm_at, self._alarm = self._max_steps + 1, self._give_up
            call()

    def _jump(self, seconds: float) -> None:
        if self._max_seconds is not None and seconds > self._max_seconds:
            raise EndlessRunError(
                f"the run has not ended at {self._seconds:g} s of its clock and would go on at "
                f"{seconds:g} s; max_seconds={self._max_seconds:g}"
            )
        self._seconds += (seconds - self._seconds) / 2  # what is called here comes while all wait
        self._step()
        if not self._ready:
            super()._jump(seconds)

    def _due(self) -> list[asyncio.TimerHandle]:
        due = super()._due()
        if len(due) > 1 and (order := self.schedule.timers(due)) and self._note is not None:
            names = (f"timer {place + 1}" for place in order)
            self._note(Order(self._seconds, tuple(names)))
        return due

    def _arrange(self, ready: deque[asyncio.Handle]) -> None:
        order = self.schedule.steps(ready)
        if order is not None and self._note is not None:
            tasks = map(task_of, ready)
            names = (task.get_name() for task in tasks if task is not None)
            self._note(Order(self._seconds, tuple(names)))

    # --- what would differ from process to process ------------------------------------------------

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
        **options: Any,
    ) -> "asyncio.Task[Any]":
        self._made += 1
        name = name or f"task-{self._made}"
        task = super().create_task(coro, name=name, context=context, **options)
        self._tasks.add(task)
        return task

    def unfinished(self) -> "Iterable[asyncio.Task[Any]]":
        return [task for task in self._tasks if not task.done()]  # few, beside all of the process

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        return asyncio.wrap_future(self.threads.submit(func, *args), loop=self)

    # --- what nobody hears of otherwise -----------------------------------------------------------

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        suffix = "" if error is None else f": {type(error).__name__}: {error}"
        self.complaints.append(f"{context.get('message')}{suffix}")
        super().call_exception_handler(context)

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        self.abandoned.append(agen.__qualname__)
        super()._asyncgen_finalizer_hook(agen)  # type: ignore[misc]

    def open_generators(self) -> list[str]:
        """Return the async generators that were begun and neither ended nor closed."""
        generators = list(self._asyncgens)  # type: ignore[attr-defined]
        return sorted(gen.__qualname__ for gen in generators if gen.ag_frame is not None)

    def forget_errors(self) -> None:
        """Say nothing of what tasks have failed with that nobody waited for any more."""
        for task in self._tasks:
            if task.done():
                retrieve_exception(task)

    # --- from the first step to the last ----------------------------------------------------------

    def finish(self) -> None:
        """Cancel what has not ended, wait for it, and close the loop."""
        try:
            self.alarm(self.steps + ENDING_STEPS, self._give_up)
            while self._ready:  # callbacks that the last step of the run has left
                self.stop()
                self.run_forever()
            for _ in range(3):  # code may swallow a cancellation
                if not (tasks := tasks_of(self)):
                    break
                for task in tasks:
                    task.cancel()
                self.run_until_complete(asyncio.wait(tasks))
                for task in tasks:
                    retrieve_exception(task)
            if self.open_generators():
                self.run_until_complete(self.shutdown_asyncgens())
            self.close_network()
        except SimulationError:  # they will not: that was said, or will be, by whoever looks
            pass
        finally:
            for task in tasks_of(self):  # given up: closed now, not by the garbage collector
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with suppress(Exception, asyncio.CancelledError):
                    task.get_coro().close()
            self.close()


def _made_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
    return asyncio.Task(work, loop=loop, **options)


@contextmanager
def simulating(loop: SimulationLoop) -> Iterator[None]:
    """Run what stands within on a loop that may be one of several, one in the other.

    ``random`` is seeded, ``time.sleep`` takes the loop's time, and every fork is checked for
    conflicting writes; all are as before afterwards.
    """
    outer, around = running_loop(), getattr(ACTIVE, "loop", None)
    state, sleep = random.getstate(), time.sleep

    def virtual_sleep(seconds: Any, /) -> None:
        active = getattr(ACTIVE, "loop", None)
        (sleep if active is None else active.threads.sleep)(seconds)

    asyncio._set_running_loop(None)
    ACTIVE.loop = loop
    random.seed(loop.seed)
    time.sleep = virtual_sleep
    checks_all, Run.checks_all = Run.checks_all, True
    try:
        with simulated_sockets():
            yield
    finally:
        Run.checks_all = checks_all
        time.sleep = sleep
        random.setstate(state)
        ACTIVE.loop = around
        asyncio._set_running_loop(outer)
