"""Cancellations that are swallowed: a task was cancelled, and waits for something else."""

import asyncio
import gc
from collections.abc import Callable
from types import AsyncGeneratorType
from typing import Any, Protocol

from ._places import awaitables_of, waits_in
from ._schedule import task_of


class Host(Protocol):
    """The loop of a simulation: what it calls before each step."""

    stepped: Callable[[float, asyncio.Handle], object] | None


class Cancellations:
    """The tasks that were cancelled, and what they did after that.

    They should clean up and end: a task that waits while it handles the CancelledError, or still
    refers to it, does that. Or they call ``uncancel()``, as timeouts, task groups and cancel scopes
    do. A task that waits without that, and does not end with an error, has swallowed it.

    Args:
        loop: The loop, whose steps are followed from the first cancellation on.
    """

    def __init__(self, loop: Host) -> None:
        self._loop = loop
        self._stepped: Callable[[float, asyncio.Handle], object] | None = None
        # Where each was then, and how many requests had been left by others.
        self._asked: dict[asyncio.Task[Any], tuple[str, int]] = {}
        self._waiting: dict[asyncio.Task[Any], str] = {}  # and where each went on
        self._ran: asyncio.Task[Any] | None = None  # in the last step, of those
        self._ended: list[str] = []

    def ask(self, task: "asyncio.Task[Any]") -> None:
        """A task is cancelled."""
        if task.done() or task in self._asked:
            return
        if not self._asked and self._loop.stepped != self._step:
            self._stepped, self._loop.stepped = self._loop.stepped, self._step
        self._asked[task] = waits_in(task), task.cancelling()

    def swallowed(self) -> list[str]:
        """Return which tasks have swallowed a cancellation until now, one line each."""
        self._look_at(self._ran)
        return [*self._ended, *(self._line(task) for task in self._waiting if self._is_asked(task))]

    def end(self) -> None:
        """Let the tasks go."""
        self._ran = None
        self._asked.clear()
        self._waiting.clear()

    def _step(self, at: float, handle: asyncio.Handle) -> None:
        if self._stepped is not None:
            self._stepped(at, handle)
        self._look_at(self._ran)
        task = task_of(handle)
        self._ran = task if task in self._asked else None

    def _is_asked(self, task: "asyncio.Task[Any]") -> bool:
        """Return whether nobody has called ``uncancel()``."""
        return task.cancelling() > self._asked[task][1]

    def _look_at(self, task: "asyncio.Task[Any] | None") -> None:
        """Note where a task is that was cancelled and has taken a step."""
        if task is None or task not in self._asked:
            return
        if task.done() or not self._is_asked(task):
            succeeded = task.done() and not task.cancelled() and task._exception is None
            if succeeded and task in self._waiting and self._is_asked(task):
                self._ended.append(self._line(task))
            del self._asked[task]
            self._waiting.pop(task, None)
        elif task not in self._waiting and not _handles(task):
            self._waiting[task] = waits_in(task)

    def _line(self, task: "asyncio.Task[Any]") -> str:
        place, _ = self._asked[task]
        return (
            f"a cancellation of {task.get_name()}, in {place}: it went on to wait in "
            f"{self._waiting[task]}"
        )


def _handles(task: "asyncio.Task[Any]") -> bool:
    """Return whether a task that waits is handling a CancelledError, or refers to one.

    The error that a suspended coroutine handles is among what it refers to, for the collector.
    """
    left: list[Any] = [task.get_coro()]
    while left:
        for awaited in awaitables_of(left.pop()):
            for found in gc.get_referents(awaited):
                if type(found).__name__ in _OF_GENERATORS:
                    inner = gc.get_referents(found)
                    left += [one for one in inner if isinstance(one, AsyncGeneratorType)]
                error = found
                while isinstance(error, BaseException):
                    if isinstance(error, asyncio.CancelledError):
                        return True
                    error = error.__context__
    return False


# What waits for an async generator, and does not say for which.
_OF_GENERATORS = ("async_generator_asend", "async_generator_athrow")
