"""Which steps of a simulation are ordered: a vector clock for each task, carried by what wakes it.

A step comes after another if there is a chain from one to the other: of steps of the same task, of
callbacks and the steps that have scheduled them (futures, locks, events, queues and tasks wake with
``loop.call_soon``), and of what ``_synchronizing`` adds: locks that were free, futures that were
done. That a timer happened to fire later is not an order. The clocks are those of Lamport (1978),
Fidge and Mattern (1988), with an entry for each task that has written something that is watched.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any
from weakref import WeakKeyDictionary

from ._schedule import task_of
from ._tasks import Task

# The number of a task, and how many groups of its writes came before.
Clock = dict[int, int]

NOTHING: Clock = {}


class Actor:
    """What runs steps one after the other: a task, a call in a thread, or a single callback.

    Attributes:
        name: What reports call it.
        clock: What is known to have come before its next step.
    """

    __slots__ = ("_carried", "_number", "clock", "name")

    def __init__(self, name: str, number: int, clock: Clock) -> None:
        self.name, self._number, self.clock = name, number, clock
        self._carried = True  # somebody else has this clock: what comes now is not in it

    def carry(self) -> Clock:
        """Return what has come before, for what is to come after."""
        self._carried = True
        return self.clock

    def join(self, clock: Clock) -> None:
        """Come after what a clock has."""
        self.clock = joined(self.clock, clock)

    def stamp(self) -> tuple[int, int]:
        """Return the entry of what it does now."""
        number = self._number
        if self._carried:
            self._carried = False
            self.clock = {**self.clock, number: self.clock.get(number, 0) + 1}
        return number, self.clock[number]

    def follows(self, stamp: tuple[int, int]) -> bool:
        """Return whether something comes before its next step."""
        number, count = stamp
        return self.clock.get(number, 0) >= count


def joined(clock: Clock, other: Clock) -> Clock:
    """Return what comes before that has one or the other before it."""
    if clock is other or not other:
        return clock
    later = {number: count for number, count in other.items() if clock.get(number, 0) < count}
    return {**clock, **later} if later else clock


class Carrier(asyncio.Handle):
    """A callback with the clock of the step that has scheduled it."""

    __slots__ = ("clock",)

    clock: Clock


class Ordering:
    """The clocks of a simulation, kept from the moment in which it is made.

    Args:
        loop: Its loop.

    Attributes:
        current: Who runs now.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._numbers = 0
        self._actors: WeakKeyDictionary[asyncio.Task[Any], Actor] = WeakKeyDictionary()
        self._ends: WeakKeyDictionary[Any, Clock] = WeakKeyDictionary()
        # By the object, which is kept so that another cannot take its address.
        self._published: dict[int, tuple[Any, Clock]] = {}
        self._sockets: dict[int, Clock] = {}
        self._arrived: dict[int, Clock] = {}
        self._stepped, self._call_at = loop.stepped, loop.call_at
        task = asyncio.current_task(loop)
        self.current = self._actor("the loop", NOTHING) if task is None else self._of(task)
        loop.task_class = ObservedTask
        for known in loop.unfinished():
            if type(known) is Task:
                known.__class__ = ObservedTask
        vars(loop).update(
            _call_soon=self._call_soon_after,
            call_at=self._call_at_after,
            create_future=self._create_future,
            stepped=self._step,
        )
        self._select = loop._selector.select
        vars(loop._selector).update(changes=self._changed, select=self._selected)

    def _actor(self, name: str, clock: Clock) -> Actor:
        self._numbers += 1
        return Actor(name, self._numbers, clock)

    def _of(self, task: "asyncio.Task[Any]") -> Actor:
        actor = self._actors.get(task)
        if actor is None:
            actor = self._actors[task] = self._actor(task.get_name(), NOTHING)
        return actor

    # --- what is scheduled, and what runs ---------------------------------------------------------

    def _call_soon_after(
        self, callback: Callable[..., object], args: Any, context: Context | None
    ) -> asyncio.Handle:
        handle = Carrier(callback, args, self._loop, context)
        handle.clock = self.current.carry()
        self._loop._ready.append(handle)
        return handle

    def _call_at_after(self, *args: Any, **settings: Any) -> asyncio.TimerHandle:
        timer = self._call_at(*args, **settings)
        timer.clock = self.current.carry()
        return timer  # type: ignore[no-any-return]

    def _step(self, at: float, handle: asyncio.Handle) -> None:
        if self._stepped is not None:
            self._stepped(at, handle)
        clock = getattr(handle, "clock", None) or self._arrived.pop(id(handle), NOTHING)
        task = task_of(handle)
        if task is None:
            self.current = self._actor("a callback", clock)
        else:
            self.current = self._of(task)
            self.current.join(clock)

    @contextmanager
    def thread(self, call: Any) -> Iterator[None]:
        """A call in a thread, for which a future stands: it comes after what runs now, only."""
        around = self.current
        self.current = self._actor("a call in a thread", around.carry())
        try:
            yield
        finally:
            self._ends[call] = self.current.carry()
            self.current = around

    @contextmanager
    def after(self, call: Any) -> Iterator[None]:
        """Schedule what comes after a call in a thread, if it has ended."""
        around = self.current
        clock = joined(around.carry(), self._ends.get(call, NOTHING))
        self.current = self._actor(around.name, clock)
        try:
            yield
        finally:
            self.current = around

    # --- what is waited for, where it is not necessary to wait ------------------------------------

    def publish(self, owner: Any) -> None:
        """Have what joins an object from now on come after this."""
        _, clock = self._published.get(id(owner), (owner, NOTHING))
        self._published[id(owner)] = owner, joined(self.current.carry(), clock)

    def join(self, owner: Any) -> None:
        """Come after what has published."""
        found = self._published.get(id(owner))
        if found is not None:
            self.current.join(found[1])

    def _create_future(self) -> "asyncio.Future[Any]":
        return ObservedFuture(loop=self._loop)  # type: ignore[no-any-return]

    def ends(self, future: "asyncio.Future[Any]") -> None:
        """A future gets its result now."""
        self._ends[future] = self.current.carry()

    def sees(self, future: "asyncio.Future[Any]") -> None:
        """It is seen that a future is done."""
        if isinstance(future, asyncio.Task):
            self.current.join(self._of(future).carry())
        else:
            self.current.join(self._ends.get(future, NOTHING))

    # --- connections: what is read comes after what was sent --------------------------------------

    def _changed(self, number: int) -> None:
        self._sockets[number] = joined(self.current.carry(), self._sockets.get(number, NOTHING))

    def _selected(self, timeout: float | None = None) -> Any:
        found = self._select(timeout)
        for key, _ in found:
            for handle in key.data:
                if handle is not None:
                    self._arrived[id(handle)] = self._sockets.get(key.fd, NOTHING)
        return found


# --- futures that are done: whoever sees it comes after it ----------------------------------------


def ordering_of(future: "asyncio.Future[Any]") -> Ordering | None:
    """Return the clocks of the simulation that a future belongs to, if it keeps any."""
    return getattr(future.get_loop(), "ordering", None)


def _seeing(method: Any) -> Any:
    def sees(self: Any, *args: Any, **settings: Any) -> Any:
        if asyncio.Future.done(self) and (ordering := ordering_of(self)) is not None:
            ordering.sees(self)
        return method(self, *args, **settings)

    return sees


def _ending(method: Any) -> Any:
    def ends(self: Any, *args: Any, **settings: Any) -> Any:
        if not asyncio.Future.done(self) and (ordering := ordering_of(self)) is not None:
            ordering.ends(self)
        return method(self, *args, **settings)

    return ends


_SEEING = (
    "__await__", "__iter__", "add_done_callback", "cancelled", "done", "exception", "result"
)  # fmt: skip
_ENDING = ("cancel", "set_exception", "set_result")


def observing(cls: Any, ends: bool) -> dict[str, Any]:
    """Return methods of a class of futures that tell the clocks who sees its results.

    Args:
        cls: The class.
        ends: Whether to tell also when it gets its result; a task does not by a method.
    """
    methods = {name: _seeing(getattr(cls, name)) for name in _SEEING}
    if ends:
        methods |= {name: _ending(getattr(cls, name)) for name in _ENDING}
    return methods


def observed(cls: Any, ends: bool) -> Any:
    """Return a class of futures with these methods."""
    return type(cls.__name__, (cls,), {"__slots__": (), **observing(cls, ends)})


ObservedFuture = observed(asyncio.Future, ends=True)
ObservedTask = observed(Task, ends=False)
