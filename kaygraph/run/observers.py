"""Observers: they receive every event of a run. What happens when one of them fails."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextvars import Context, ContextVar, copy_context
from functools import partial
from inspect import iscoroutinefunction
from typing import NamedTuple, Protocol, TypeGuard

from ..events import AttemptStarted, Event, ItemFinished, ItemStarted, Observer, Usage
from .spans import Carries

MOST_IN_A_ROW = 25  # failures after which an observer is not called again

# Events of which there is one, or more, for each item that ends well.
OF_ITEMS = frozenset({ItemStarted, AttemptStarted, ItemFinished})

# Whether an observer is being called: a run that it starts is not part of the observed run.
OBSERVING: ContextVar[bool] = ContextVar("kaygraph_observing", default=False)


def check_observers(observers: Sequence[Observer]) -> None:
    """Check that it is a list of functions, or of other callables.

    Raises:
        TypeError: It is not, or one of them is a class or written with ``async def``.
    """
    several = isinstance(observers, Collection) and not callable(observers)
    if not several or not all(map(callable, observers)):
        raise TypeError(
            "observers is a list of callables that accept an event, as in "
            f"run(shared, observers=[report]); got {observers!r}"
        )
    for one in observers:
        if isinstance(one, type):
            name = one.__name__
            raise TypeError(f"{name} is a class; pass an instance of it: observers=[{name}()]")
        if iscoroutinefunction(one) or iscoroutinefunction(getattr(one, "__call__", None)):  # noqa: B004
            raise TypeError(f"an observer is called, not awaited: write 'def'; got {one!r}")


class ItemCounter(Protocol):
    """Counts the items of one node as they start and succeed, in place of events."""

    def began(self, index: int, at: float) -> None:
        """Count an item whose ``exec`` is about to be called for the first time, at this time."""

    def ended(
        self,
        index: int,
        worker: int,
        attempts: int,
        seconds: float,
        usage: Usage,
        waiting: bool,
        at: float,
    ) -> None:
        """Count an item that succeeded; the arguments are those of ``ItemFinished``."""


class CountsItems:
    """An observer that needs no event for an item that starts or succeeds: it counts them.

    It gets all other events: of items that fail, of their retries, and of everything else.
    """

    @property
    def counts_items(self) -> bool:
        """Whether it counts items instead of receiving their events."""
        return True

    def counter_of(self, node: str, whole: bool) -> ItemCounter:
        """Return what counts a node's items; ``whole``: their parts have events of their own."""
        raise NotImplementedError


class ItemCounters:
    """Several counters as one."""

    __slots__ = ("_counters",)

    def __init__(self, counters: Iterable[ItemCounter]) -> None:
        self._counters = tuple(counters)

    def began(self, index: int, at: float) -> None:
        for counter in self._counters:
            counter.began(index, at)

    def ended(
        self,
        index: int,
        worker: int,
        attempts: int,
        seconds: float,
        usage: Usage,
        waiting: bool,
        at: float,
    ) -> None:
        for counter in self._counters:
            counter.ended(index, worker, attempts, seconds, usage, waiting, at)


def counter_of(counting: Sequence[CountsItems], node: str, whole: bool) -> ItemCounter | None:
    """Return a counter of a node's items for all observers that count; None without any."""
    counters = [one.counter_of(node, whole) for one in counting]
    return counters[0] if len(counters) == 1 else ItemCounters(counters) if counters else None


class Pending(NamedTuple):
    """An event from a thread other than the loop's.

    Attributes:
        context: The context in which it happened; observers are called in it.
        reported: Carriers have already received it there.
    """

    event: Event
    context: Context
    is_reported: bool = False


class Emit(Protocol):
    """Sends events to observers."""

    def __call__(self, event: Event, /) -> None:
        """Send it now; on the loop of the run."""

    def later(self, loop: asyncio.AbstractEventLoop, pending: Pending, /) -> None:
        """Send it from a thread other than the loop's, before anything that follows."""


class Both:
    """Sends events to the observers of two runs, one inside the other."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: Emit, second: Emit) -> None:
        self._first, self._second = first, second

    def __call__(self, event: Event, /) -> None:
        self._first(event)
        self._second(event)

    def later(self, loop: asyncio.AbstractEventLoop, pending: Pending, /) -> None:
        self._first.later(loop, pending)
        self._second.later(loop, pending._replace(context=pending.context.copy()))


class OnLoop:
    """Sends events to the observers of a run on another loop; carriers receive them ``here``."""

    __slots__ = ("_emit", "_here", "_loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, emit: Emit, here: Callable[[Event], None]
    ) -> None:
        self._loop, self._emit, self._here = loop, emit, here

    def __call__(self, event: Event, /) -> None:
        self._here(event)
        self._emit.later(self._loop, Pending(event, copy_context(), True))

    def later(self, _: asyncio.AbstractEventLoop, pending: Pending, /) -> None:
        self._emit.later(self._loop, pending)


def both(
    first: Callable[[Event], None] | None, second: Callable[[Event], None] | None
) -> Callable[[Event], None] | None:
    """Return what sends events to both; None if there is neither."""
    if first is None or second is None:
        return first or second
    return partial(_report_both, first, second)


def _report_both(
    first: Callable[[Event], None], second: Callable[[Event], None], event: Event
) -> None:
    first(event)
    second(event)


def _counts(observer: Observer) -> TypeGuard[CountsItems]:
    return isinstance(observer, CountsItems) and observer.counts_items


def _observes_items(observer: Observer) -> bool:
    """Whether an observer does not say ``items = False``; it may have items of another kind."""
    return getattr(observer, "items", True) is not False


class Observers:
    """Calls observers with events, in the order given.

    An observer that fails is kept, as an exporter may have a temporary problem; the events that it
    missed are lost. The loop's exception handler receives its first failure, and another when the
    observer is given up: not each one, as there may be as many as events.

    Those with ``items = False`` receive no events of an item unless it fails or is retried.

    Attributes:
        counting: Those that count items, and need no event for each.
        observes_items: Whether any receives the events of each item, or counts items.
    """

    __slots__ = (
        "_failures", "_is_asked", "_observers", "_of_items", "_pending", "_reported", "counting",
        "observes_items",
    )  # fmt: skip

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._of_items = tuple([one for one in observers if _observes_items(one)])
        self.counting = tuple([one for one in self._of_items if _counts(one)])
        self.observes_items = bool(self._of_items)
        self._failures: dict[int, int] = {}  # in a row, by the id of the observer
        self._pending: deque[Pending] = deque()  # from other threads, in the order they came
        self._is_asked = False  # the loop will deliver them
        self._reported: set[int] = set()  # those reported to the handler

    @property
    def of_items(self) -> Callable[[Event], None] | None:
        """What sends the events of items to those that want them; None if none does."""
        return self._call_for_item if len(self._of_items) > len(self.counting) else None

    def __call__(self, event: Event, /) -> None:
        if self._pending:
            self._catch_up()
        self._call(self._of_items if type(event) in OF_ITEMS else self._observers, event)

    def later(self, loop: asyncio.AbstractEventLoop, pending: Pending, /) -> None:
        """Send an event from another thread, before everything sent after it."""
        self._pending.append(pending)
        if not self._is_asked:
            self._is_asked = True
            try:
                loop.call_soon_threadsafe(self._catch_up)
            except RuntimeError:  # it is closed: nothing observes now
                self._is_asked = False

    def _catch_up(self) -> None:
        self._is_asked = False
        while self._pending:
            event, context, is_reported = self._pending.popleft()
            observers = self._of_items if type(event) in OF_ITEMS else self._observers
            if is_reported:
                observers = tuple([one for one in observers if not isinstance(one, Carries)])
            context.run(self._call, observers, event)

    def _call_for_item(self, event: Event) -> None:
        if self._pending:
            self._catch_up()
        self._call([one for one in self._of_items if not _counts(one)], event)

    def _call(self, observers: Sequence[Observer], event: Event) -> None:
        observing = OBSERVING.set(True)
        try:
            for observer in observers:
                try:
                    observer(event)
                except (Exception, asyncio.CancelledError) as error:
                    self._failed(observer, event, error)
                else:
                    if self._failures:
                        self._failures.pop(id(observer), None)
        finally:
            OBSERVING.reset(observing)

    def _failed(self, observer: Observer, event: Event, error: BaseException) -> None:
        failures = self._failures[id(observer)] = self._failures.get(id(observer), 0) + 1
        if id(observer) not in self._reported:
            self._reported.add(id(observer))
            message = f"observer {observer!r} failed at {type(event).__name__}"
        elif failures == MOST_IN_A_ROW:
            self._observers = tuple([one for one in self._observers if one is not observer])
            self._of_items = tuple([one for one in self._of_items if one is not observer])
            message = f"observer {observer!r} failed {failures} times in a row, and is not called"
            message += " again in this run"
        else:
            return
        context = {"message": message, "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
