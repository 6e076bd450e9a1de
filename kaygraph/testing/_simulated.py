"""The loop of a simulation: a virtual clock, a seeded order, and threads that run inline."""

import asyncio
import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import cached_property
from heapq import heappop, heappush
from typing import Any
from weakref import WeakSet

from ..aio.tasks import retrieve_exception
from ..errors import add_note
from ..run.run import Run
from ._accesses import Accesses
from ._cancellations import Cancellations
from ._clocks import virtual_clocks
from ._footprints import Footprints
from ._lock_orders import LockOrders
from ._loop import RESOLUTION_S, EndlessRunError, SimulationError, running_loop
from ._ordering import Ordering
from ._places import tasks_of
from ._schedule import MOST_TIMERS, Schedule
from ._synchronizing import Edges, edges_within
from ._tasks import Task
from ._threads import InlineThreads, threads_of_anyio
from ._timers import Timer, in_order
from ._unawaited import noted_coroutines
from ._waits import noted_waits, waiting_tasks
from .network.loop import NetworkLoop
from .network.sockets import simulated_sockets

MAX_STEPS = 1_000_000

# How many callbacks the tasks of a run that was given up may take to end.
ENDING_STEPS = 10_000

# How close timers are, and a timer and what is ready, of which real time decides the order.
JITTER_S = 0.001

# How many seconds later a thread may begin a call, or tell the loop of its end, than it could: it
# waits for the interpreter, or for other threads of its pool.
THREADS_S = (0.0, 0.01, 0.1)

# After so many turns of the loop without a wait, its clock moves with each turn: code that polls
# until a timer has fired would not end otherwise.
STILL_TURNS, TURN_S = 10_000, 0.001

ACTIVE = threading.local()  # .loop: the simulation that runs in this thread

EDGES: list[Edges] = []  # of the simulations that are one in the other


class SimulationLoop(NetworkLoop):
    """A loop on which the same seed is the same run.

    Args:
        seed: Of ``random``, and of ``Faults`` without a seed of their own.
        schedule: The order; that of the seed by default.
        max_steps: How many steps it may take; a callback is one, and so is a jump of the clock.
        max_seconds: How far its clock may go.
        jitter: How close timers are, in seconds, that fire in either order.
    """

    def __init__(
        self,
        seed: int = 0,
        schedule: Schedule | None = None,
        max_steps: int = MAX_STEPS,
        max_seconds: float | None = None,
        jitter: float = JITTER_S,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.threads = InlineThreads(self)
        self.schedule = Schedule(seed) if schedule is None else schedule
        self.steps = 0
        self.stepped: Callable[[float, asyncio.Handle], object] | None = None  # before each
        self.complaints: list[str] = []
        self.unawaited: list[str] = []  # coroutines that never began
        self.abandoned: list[str] = []  # async generators that were left to the garbage collector
        self._max_steps, self._max_seconds = max_steps, max_seconds
        self._jitter = max(jitter, RESOLUTION_S)
        self._alarm_at = max_steps + 1
        self._alarm: Callable[[], object] = self._give_up
        self._made = self.timers_set = self._turns = 0
        self._waiting: Sequence[asyncio.Handle] = ()
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.task_class: type[asyncio.Task[Any]] = Task
        self.ordering: Ordering | None = None
        self.accesses: Accesses | None = None
        self.footprints: Footprints | None = None
        self.set_task_factory(_made_task)  # the first step of each is one of the schedule

    def alarm(self, at_step: int, call: Callable[[], object]) -> None:
        """Call something before a step, once; steps are counted from 1."""
        self._alarm_at, self._alarm = at_step, call

    def _give_up(self) -> None:
        raise EndlessRunError(
            f"the run has not ended after {self._max_steps} steps, at {self._seconds:g} s of its "
            f"clock; max_steps= allows more. Its tasks go round or wait:{waiting_tasks(self)}"
        )

    def _let_threads_run(self) -> None:
        pass  # there are none

    # --- order ----------------------------------------------------------------------------------

    def _step(self) -> None:
        self.steps += 1
        if self.stepped is not None and self._ready:
            self.stepped(self._seconds, self._ready[0])
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
        self._turns = 0
        if not self._ready:
            super()._jump(seconds)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check_closed()  # type: ignore[attr-defined]
        self.timers_set += 1
        timer = Timer(when, callback, args, self, context)
        timer.number = self.timers_set
        heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def _due(self) -> list[asyncio.TimerHandle]:
        self._turns += 1
        if self._turns > STILL_TURNS:
            self._seconds += TURN_S
        if not self.schedule.active:
            return super()._due()
        fired: list[asyncio.TimerHandle] = []
        while close := self._close_timers():
            due = close[0].when() <= self._seconds + RESOLUTION_S
            options = in_order(close) if self.schedule.order == "asyncio" else close
            chosen = self.schedule.timer(options, due, self._ready, fired, self._seconds)
            for timer in close:
                if timer is not chosen:
                    heappush(self._scheduled, timer)
                    timer._scheduled = True  # type: ignore[attr-defined]
            if chosen is None:
                break
            self._seconds = max(self._seconds, chosen.when())
            fired.append(chosen)
        return fired

    def _close_timers(self) -> "list[Timer]":
        """Take out the next timers that are due, or so soon that they could be."""
        timers: list[Any] = self._scheduled
        close: list[Timer] = []
        until = self._seconds + self._jitter
        while timers and timers[0].when() <= until and len(close) < MOST_TIMERS:
            timer = heappop(timers)
            timer._scheduled = False
            if timer.cancelled():
                self._timer_cancelled_count -= 1
            else:
                # One that is late already is not overtaken by ever later ones.
                until = min(until, timer.when() + self._jitter)
                close.append(timer)
        return close

    def _arrange(self, ready: deque[asyncio.Handle]) -> None:
        if self.schedule.active:
            self._waiting = self.schedule.steps(ready, self.steps, self._seconds)

    def _run_once(self) -> None:
        try:
            super()._run_once()
        finally:
            if self._waiting:  # for the next turn, before what has become ready in this one
                self._ready.extendleft(reversed(self._waiting))
                self._waiting = ()

    def watched(self) -> Accesses:
        """Return what is known of watched objects; from now on, clocks say what is ordered."""
        if self.accesses is None:
            self.ordering = Ordering(self)
            self.accesses = Accesses(self.ordering)
            EDGES[-1].add()
        return self.accesses

    def later(self, what: str) -> float | None:
        """Return in how many seconds something happens in a thread; None: at once."""
        if not self.schedule.active:
            return None
        return self.schedule.later(what, THREADS_S, self._seconds)

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
        task: asyncio.Task[Any]
        if self._task_factory is _made_task:  # type: ignore[attr-defined]
            self._check_closed()  # type: ignore[attr-defined]
            task = self.task_class(coro, loop=self, name=name, context=context, **options)
        else:
            task = super().create_task(coro, name=name, context=context, **options)
        self._tasks.add(task)
        return task

    def unfinished(self) -> "Iterable[asyncio.Task[Any]]":
        if sys.version_info >= (3, 12):
            others = asyncio.all_tasks(self).difference(self._tasks)
            for task in sorted(others, key=lambda task: (len(task.get_name()), task.get_name())):
                self.name_of(task)
        return [task for task in self._tasks if not task.done()]  # few, beside all of the process

    def name_of(self, task: "asyncio.Task[Any]") -> str:
        """Return a task's name. It is given here if the task was made without ``create_task()``.

        Since Python 3.12 libraries make such tasks, which begin at once (``eager_start``). asyncio
        numbers them for the whole process.
        """
        if task not in self._tasks:
            self._made += 1
            self._tasks.add(task)
            if task.get_name().removeprefix("Task-").isdecimal():
                task.set_name(f"task-{self._made}")
        return task.get_name()

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        call = self.threads.call(func, *args)
        if self.ordering is None:
            return asyncio.wrap_future(call, loop=self)
        with self.ordering.after(call):
            return asyncio.wrap_future(call, loop=self)

    # --- what nobody hears of otherwise -----------------------------------------------------------

    @cached_property
    def cancellations(self) -> Cancellations:
        return Cancellations(self)

    @cached_property
    def lock_orders(self) -> LockOrders:
        return LockOrders()

    def swallowed(self) -> list[str]:
        return self.cancellations.swallowed() if "cancellations" in vars(self) else []

    def warnings(self) -> list[str]:
        """Return what may fail another time."""
        return list(self.lock_orders.found) if "lock_orders" in vars(self) else []

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

    def unretrieved(self) -> list[str]:
        """Return which tasks have failed without anyone having asked for their error."""
        failed = [task for task in self._tasks if task.done() and task._log_traceback]
        lines = []
        for task in sorted(failed, key=lambda task: (len(task.get_name()), task.get_name())):
            error = task.exception()  # asked for now: the loop need not say it again
            lines.append(f"{task.get_name()}: {type(error).__name__}: {error}")
        return lines

    def forget_errors(self) -> None:
        """Say nothing of what tasks have failed with that nobody waited for any more."""
        for task in self._tasks:
            if task.done():
                retrieve_exception(task)

    def with_unordered(self, error: BaseException | None) -> BaseException | None:
        """Return the error of a run, with what was accessed without an order as a note.

        Where there is no other error, this is one.
        """
        unordered = None if self.accesses is None else self.accesses.error()
        if error is not None and unordered is not None:
            add_note(error, str(unordered))
        return error or unordered

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
            if self.open_generators():
                self.run_until_complete(self.shutdown_asyncgens())
            self.close_network()
        except SimulationError:  # they will not: that was said, or will be, by whoever looks
            with suppress(SimulationError):  # a server may wait for its connections to end
                self.close_network()
        finally:
            self.forget_errors()  # what comes now was not part of the run
            for task in tasks_of(self):  # given up: closed now, not by the garbage collector
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with suppress(Exception, asyncio.CancelledError):
                    task.get_coro().close()
            if self.accesses is not None:
                self.accesses.end()
            for kept in ("cancellations", "lock_orders"):
                if kept in vars(self):
                    vars(self)[kept].end()
            self.close()


def _made_task(loop: Any, work: Any, **options: Any) -> "asyncio.Task[Any]":
    return loop.task_class(work, loop=loop, **options)  # type: ignore[no-any-return]


def active_loop() -> SimulationLoop | None:
    """Return the simulation that runs in this thread, or None."""
    return getattr(ACTIVE, "loop", None)


@contextmanager
def simulating() -> Iterator[None]:
    """Run what stands within on loops that may be one in the other.

    The clocks of ``time`` follow that of the loop, and every fork is checked for conflicting
    writes; all is as before afterwards.
    """
    outer, state = running_loop(), random.getstate()
    checks_all, Run.checks_all = Run.checks_all, True
    asyncio._set_running_loop(None)
    try:
        with (
            virtual_clocks(active_loop),
            threads_of_anyio(active_loop),
            simulated_sockets(),
            noted_waits(active_loop),
            noted_coroutines(active_loop),
            edges_within(EDGES, lambda: getattr(active_loop(), "ordering", None)),
        ):
            yield
    finally:
        random.setstate(state)
        Run.checks_all = checks_all
        asyncio._set_running_loop(outer)


@contextmanager
def active(loop: SimulationLoop) -> Iterator[None]:
    """Have a loop be that of the simulation in this thread, and seed ``random``."""
    around = active_loop()
    ACTIVE.loop = loop
    random.seed(loop.seed)
    try:
        yield
    finally:
        ACTIVE.loop = around
