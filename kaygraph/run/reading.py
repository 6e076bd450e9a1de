"""The output of a run while it runs: ``async with graph.events(shared) as events``."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from weakref import ref

from ..aio.cancelling import Caller
from ..aio.tasks import cancelled_again, current_task, is_cancelling
from ..events import Event, Observer
from ..outcome import Outcome
from .tap import Tap
from .task import RunTask

T = TypeVar("T")


class Reading(Generic[T]):
    """A run that starts with the block and ends with it, and an iterator over its output.

    The run never waits for the reader. At most ``size`` unread entries are kept: after that, each
    new one drops the oldest, and is counted. The iterator ends with the run, and raises what the
    run raised; a cancelled run just ends. Leaving the block early cancels the run and waits until
    everything is cleaned up; what failed in the meantime is raised.

    Attributes:
        dropped: How many were dropped.
        action: The last action of the run; None before its end, and if it failed.
    """

    def __init__(self, launch: Callable[[], RunTask], size: int) -> None:
        self.dropped = 0
        self.action: str | None = None
        self._launch: Callable[[], RunTask] | None = launch
        self._size = size
        self._run: RunTask | None = None
        self._items: deque[T] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False  # the reader knows that the run has ended
        self._caller: Caller | None = None

    @property
    def run(self) -> RunTask:
        """The run in progress: drain it, or ask it what it waits for."""
        if self._run is None:
            raise RuntimeError("the run begins with the block: write 'async with … as events:'")
        return self._run

    def take(self, item: T) -> None:
        """Keep something for the reader; for the engine."""
        items = self._items
        if len(items) >= self._size:
            items.popleft()
            self.dropped += 1
        items.append(item)
        if self._waiter is not None:
            self._wake()

    def _wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def __aenter__(self) -> Self:
        if self._launch is None:
            again = type(self).__name__.lower()
            raise RuntimeError(
                f"this block has already started its run: call {again}() again for another"
            )
        launch, self._launch = self._launch, None  # it knows this object: avoid a reference cycle
        task = current_task()
        assert task is not None
        self._caller = Caller(ref(task), task.cancelling())
        self._run = launch()
        self._run.when_done(self._wake)
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        run = self.run
        if self._waiter is not None:
            raise RuntimeError("another task is already reading this run")
        while not self._items:
            if self._is_over:
                raise StopAsyncIteration
            if run.done():
                await self._ended(run)
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        run = self.run
        try:
            if self._is_over:
                return
            if not run.done():
                run.cancel()
            try:
                await self._ended(run)
            except BaseException as failure:
                if error is None:
                    raise
                if isinstance(failure, asyncio.CancelledError):
                    if isinstance(error, asyncio.CancelledError):
                        return  # that goes on: a scope around takes no other
                    raise
                # An error that is already propagating must not be replaced.
                message = "a run failed after its reader had ended"
                context = {"message": message, "exception": failure}
                asyncio.get_running_loop().call_exception_handler(context)
        finally:
            self._items.clear()
            del error, traceback  # they hold this frame: avoid a reference cycle

    async def _ended(self, run: RunTask) -> None:
        """Wait for the end of the run, and raise what it raised."""
        self._is_over = True
        try:
            self.action = await run
            if self._is_cancelled():  # the run may have ended without it
                await cancelled_again()
        except asyncio.CancelledError:
            if self._is_cancelled():
                raise

    def _is_cancelled(self) -> bool:
        """Whether the reading task was cancelled (since it started to read, if it is the same)."""
        task, caller = current_task(), self._caller
        if task is None or caller is None or caller.task() is not task:
            return is_cancelling()
        return task.cancelling() > caller.cancellations


class Events(Reading[Event]):
    """The events of a run: see ``Graph.events``."""


class Reads:
    """An observer that keeps events for a reader."""

    def __init__(self, reading: Reading[Event], items: bool) -> None:
        self._reading, self.items = reading, items

    def __call__(self, event: Event, /) -> None:
        self._reading.take(event)


def events_of(launch: Callable[[Observer], RunTask], size: int, items: bool) -> Events:
    """Return the events of a run that is launched with an observer."""

    def begun() -> RunTask:
        return launch(Reads(events, items))

    events = Events(begun, size)
    return events


class Results(Reading[Outcome[Any]]):
    """The outcomes of the items of one node: see ``Graph.results``."""


def results_of(launch: Callable[[Tap], RunTask], size: int, names: Collection[str]) -> Results:
    """Return the results of a node of a run that is launched with a tap."""

    def begun() -> RunTask:
        return launch(Tap(names, results.take))

    results = Results(begun, size)
    return results
