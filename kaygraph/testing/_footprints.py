"""What each step of a simulation touches: steps that touch different objects may change places.

What is followed: tasks and futures, the primitives of asyncio (see ``_touching``), timers and the
clock, callbacks that are ready, and what is watched. What else the code of a program touches is not
known. Unless the program says that it shares nothing else, any two of its steps are taken to touch
the same thing.
"""

import asyncio
import sys
from asyncio import base_events, futures
from collections.abc import Callable, Hashable
from contextvars import Context
from typing import Any
from weakref import WeakKeyDictionary

from ._ordering import Carrier, ObservedFuture, ObservedTask
from ._schedule import task_of
from ._tasks import FAILS_GROUP, Task

# What a step touches that is not a single object.
CALLBACKS = "the callbacks that are ready"  # in which order they are
CANCELLED_CALLBACKS = "which of them are cancelled"
CLOCK = "the clock"
OLDER = "what was made before the run"

# The end of the run: nothing comes after it.
_ENDS_RUN = vars(base_events)["_run_until_complete_cb"]

# The end of a sleep, which wakes a task and does nothing else.
_ENDS_SLEEP = vars(futures)["_set_result_unless_cancelled"]


class Footprint:
    """What one step touches.

    Attributes:
        reads, writes: Objects and parts of objects.
        opaque: Whether it runs code of the program, which may touch what is not known.
        everything: Whether it may not change places with any step.
    """

    __slots__ = ("everything", "opaque", "reads", "writes")

    def __init__(self) -> None:
        self.reads: set[Hashable] = set()
        self.writes: set[Hashable] = set()
        self.opaque = self.everything = False

    def conflicts(self, other: "Footprint") -> bool:
        """Return whether the order of the two steps may make a difference."""
        return (
            self.everything
            or other.everything
            or (self.opaque and other.opaque)
            or not self.writes.isdisjoint(other.writes)
            or not self.writes.isdisjoint(other.reads)
            or not self.reads.isdisjoint(other.writes)
        )

    def until(self, made: int) -> "Footprint":
        """Return what it touches of the first so many objects: nobody else has later ones."""
        known = Footprint()
        known.opaque, known.everything = self.opaque, self.everything
        known.reads = {part for part in self.reads if _number(part) <= made}
        known.writes = {part for part in self.writes if _number(part) <= made}
        return known


def _number(part: Hashable) -> int:
    """Return the number of an object or of that to which a part belongs."""
    if isinstance(part, tuple):
        return int(part[0])
    return part if isinstance(part, int) else 0


class Footprints:
    """Follows what the steps of a simulation touch, from its beginning.

    Objects are numbered as they are made. Two runs that are alike up to a step have the same
    numbers up to it.

    Args:
        loop: Its loop, before its first step.
        only_watched: Whether the program's own code touches nothing that other tasks have but what
            is watched.

    Attributes:
        current: Of the step that runs now.
        made: The number of objects.
    """

    def __init__(self, loop: Any, only_watched: bool) -> None:
        self.only_watched = only_watched
        self.current = Footprint()
        self.made = 0
        self._loop = loop
        self._unknown = False  # whether something is used of which not all is followed
        self._numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        loop.watched().footprints = self
        loop.footprints = self
        loop.task_class = TouchedTask
        for task in loop.unfinished():
            task.__class__ = TouchedTask
            self.add(task)
        self._call_soon, self._call_at = loop._call_soon, loop.call_at
        self._time, self._advance = loop.time, loop.advance
        self._create_task, self._later = loop.create_task, loop.later
        vars(loop).update(
            _call_soon=self._ready, _timer_handle_cancelled=self._timer_cancelled,
            advance=self._advanced, call_at=self._timed, create_future=self._create_future,
            create_task=self._made_task, later=self._late, time=self._read_time,
        )  # fmt: skip
        self._count_cancelled = type(loop)._timer_handle_cancelled

    # --- what is touched --------------------------------------------------------------------------

    def next_number(self) -> int:
        """Return the number of an object that was just made."""
        self.made += 1
        return self.made

    def add(self, made: Any) -> None:
        """Follow a task, a future or a primitive that was just made."""
        self._numbers[made] = self.next_number()

    def touch(self, touched: Any, writes: bool = True) -> None:
        """Note that the step reads or changes a task, a future or a primitive of asyncio."""
        parts = self.current.writes if writes else self.current.reads
        parts.add(self._numbers.get(touched, OLDER))

    def give_up(self) -> None:
        """From now on, take all steps to touch the same thing."""
        self._unknown = self.current.everything = True

    def begin(self, handle: asyncio.Handle, at: float) -> Footprint:
        """A step begins; return its footprint, which grows until the next one does."""
        made = self.current = Footprint()
        task, callback = task_of(handle), handle._callback  # type: ignore[attr-defined]
        if task is not None:
            self.touch(task)
        elif isinstance(handle, asyncio.TimerHandle):
            made.reads.add(CALLBACKS)  # it does not fire while one is ready
            made.writes.add(handle.number)  # type: ignore[attr-defined]
            if handle.when() > at:
                made.writes.add(CLOCK)
        else:
            made.reads.add(CANCELLED_CALLBACKS)
        made.opaque = not self.only_watched and callback is not _ENDS_SLEEP
        made.everything = self._unknown or callback is _ENDS_RUN
        return made

    # --- what the loop is asked -------------------------------------------------------------------

    def _ready(
        self, callback: Callable[..., object], args: Any, context: Context | None
    ) -> asyncio.Handle:
        handle: asyncio.Handle = self._call_soon(callback, args, context)
        if task_of(handle) is not None:  # its place among the steps is the schedule's choice
            self.current.reads.add(CALLBACKS)
            return handle
        self.current.writes.add(CALLBACKS)
        handle.__class__ = TouchedHandle
        return handle

    def _timed(self, *args: Any, **settings: Any) -> Any:
        # It is one of the objects, and still due after those of its moment that were set before.
        self._loop.timers_set = self.made
        timer = self._call_at(*args, **settings)
        self.made = timer.number
        return timer

    def _timer_cancelled(self, timer: Any) -> None:
        self.current.writes.add(timer.number)
        self._count_cancelled(self._loop, timer)

    def _read_time(self) -> float:
        self.current.reads.add(CLOCK)
        return self._time()  # type: ignore[no-any-return]

    def _advanced(self, seconds: float) -> None:
        self.current.writes.add(CLOCK)
        self._advance(seconds)

    def _late(self, what: str) -> Any:
        self.current.everything = True  # the same step may do something else with another choice
        return self._later(what)

    def _create_future(self) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = TouchedFuture(loop=self._loop)
        self.add(future)
        return future

    def _made_task(self, *args: Any, **settings: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = self._create_task(*args, **settings)
        self.add(task)
        return task


# --- tasks, futures and callbacks -----------------------------------------------------------------

_READING = ("__await__", "__iter__", "cancelled", "cancelling", "done", "exception", "result")
_WRITING = (
    "add_done_callback", "cancel", "remove_done_callback", "set_exception", "set_result", "uncancel"
)  # fmt: skip


def footprints_of(future: "asyncio.Future[Any]") -> Footprints | None:
    """Return the footprints of the simulation that a future belongs to, if they are followed."""
    return getattr(future.get_loop(), "footprints", None)


def _touching(method: Any, writes: bool) -> Any:
    def touches(self: Any, *args: Any, **settings: Any) -> Any:
        if (footprints := footprints_of(self)) is not None:
            footprints.touch(self, writes)
        return method(self, *args, **settings)

    return touches


def touching(cls: Any) -> dict[str, Any]:
    """Return the methods of a class of futures, which note that they touch it."""
    names = [*((name, False) for name in _READING), *((name, True) for name in _WRITING)]
    return {
        name: _touching(getattr(cls, name), writes) for name, writes in names if hasattr(cls, name)
    }


def _cancel_task(self: Any, msg: Any | None = None) -> bool:
    if (footprints := footprints_of(self)) is not None:
        footprints.touch(self)
    by_its_group = sys._getframe(1).f_code is FAILS_GROUP
    return (asyncio.Task if by_its_group else Task).cancel(self, msg)


def _cancel_handle(self: Any) -> None:
    footprints = getattr(self._loop, "footprints", None)
    if footprints is not None:
        footprints.current.writes.add(CANCELLED_CALLBACKS)
    Carrier.cancel(self)


def _class(base: Any, methods: dict[str, Any]) -> Any:
    return type(base.__name__, (base,), {"__slots__": (), **methods})


TouchedFuture = _class(ObservedFuture, touching(ObservedFuture))
TouchedTask = _class(ObservedTask, {**touching(ObservedTask), "cancel": _cancel_task})
TouchedHandle = _class(Carrier, {"cancel": _cancel_handle})
