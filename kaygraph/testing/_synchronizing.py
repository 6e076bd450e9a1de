"""Locks, events, queues and groups of tasks that put steps in order without a wait.

Where somebody waits, a callback wakes him, and ``_ordering`` sees that. A lock that is free, an
event that is set and a queue with an item are not waited for: here their methods publish and join.
"""

import asyncio
import sys
from asyncio import locks, tasks
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from inspect import iscoroutinefunction
from operator import attrgetter
from typing import Any

from ._ordering import Ordering, observing

# Returns the clocks of the simulation that runs, or None.
Current = Callable[[], Ordering | None]


class Edges:
    """Changes to the classes of asyncio and anyio that are made once they are needed.

    Args:
        current: Returns the clocks of the simulation that runs, or None.
    """

    def __init__(self, current: Current) -> None:
        self._current = current
        self._made = ExitStack()
        self._active = False

    def add(self) -> None:
        """Make the changes, unless that was done."""
        if self._active:
            return
        self._active = True
        for cls, name, function in self._changes():
            self._change(cls, name, function)

    def remove(self) -> None:
        """Have all as it was before."""
        self._made.close()
        self._active = False

    def _change(self, cls: Any, name: str, function: Any) -> None:
        if name in vars(cls):
            self._made.callback(setattr, cls, name, vars(cls)[name])
        else:
            self._made.callback(delattr, cls, name)
        setattr(cls, name, function)

    def _changes(self) -> Iterator[tuple[Any, str, Any]]:
        for cls, released, acquired, target in [*_of_asyncio(), *_of_anyio()]:
            for name in released:
                yield cls, name, self._publishing(getattr(cls, name), target)
            for name in acquired:
                yield cls, name, self._joining(getattr(cls, name), target)
        gathering: Any = tasks._GatheringFuture  # type: ignore[attr-defined]
        for name, function in observing(gathering, ends=True).items():
            yield gathering, name, function
        condition = locks.Condition
        yield condition, "wait", self._waiting(condition.wait)
        if "anyio" in sys.modules:
            group = _backend().TaskGroup
            yield group, "_spawn", self._spawning(group._spawn)

    def _publishing(self, method: Any, target: Callable[[Any], Any]) -> Any:
        current = self._current

        def publishes(self: Any, *args: Any, **settings: Any) -> Any:
            if (ordering := current()) is not None:
                ordering.publish(target(self))
            return method(self, *args, **settings)

        return publishes

    def _joining(self, method: Any, target: Callable[[Any], Any]) -> Any:
        current = self._current

        async def joins_later(self: Any, *args: Any, **settings: Any) -> Any:
            value = await method(self, *args, **settings)
            if (ordering := current()) is not None:
                ordering.join(target(self))
            return value

        def joins(self: Any, *args: Any, **settings: Any) -> Any:
            value = method(self, *args, **settings)
            if (ordering := current()) is not None:
                ordering.join(target(self))
            return value

        return joins_later if iscoroutinefunction(method) else joins

    def _waiting(self, method: Any) -> Any:
        current = self._current

        async def wait(self: Any) -> Any:
            if (ordering := current()) is not None:
                ordering.publish(self._lock)
            try:
                return await method(self)
            finally:
                if (ordering := current()) is not None:
                    ordering.join(self._lock)

        return wait

    def _spawning(self, method: Any) -> Any:
        current = self._current

        def spawn(self: Any, *args: Any, **settings: Any) -> Any:
            before = set(self._tasks)
            spawned = method(self, *args, **settings)
            if (ordering := current()) is not None:
                for task in self._tasks - before:
                    task.add_done_callback(lambda _: ordering.publish(self))
            return spawned

        return spawn


def _itself(owner: Any) -> Any:
    return owner


# A class, what publishes, what joins, and the object that stands for what is waited for.
Row = tuple[Any, tuple[str, ...], tuple[str, ...], Callable[[Any], Any]]


def _of_asyncio() -> list[Row]:
    return [
        (locks.Lock, ("release",), ("acquire",), _itself),
        (locks.Semaphore, ("release",), ("acquire",), _itself),
        (locks.Event, ("set",), ("wait", "is_set"), _itself),
        # One that was made before holds the methods that its lock had then.
        (locks.Condition, ("__aexit__",), ("__aenter__",), attrgetter("_lock")),
        (asyncio.Queue, ("put_nowait",), ("get_nowait",), _itself),
        (asyncio.Queue, ("task_done",), ("join",), attrgetter("_finished")),
        (asyncio.TaskGroup, ("_on_task_done",), ("__aexit__",), _itself),
    ]


def _of_anyio() -> list[Row]:
    if "anyio" not in sys.modules:
        return []
    backend, memory = _backend(), import_module("anyio.streams.memory")
    limiter = (
        backend.CapacityLimiter, ("release_on_behalf_of",),
        ("acquire_on_behalf_of", "acquire_on_behalf_of_nowait"), _itself,
    )  # fmt: skip
    found: list[Row] = [
        limiter,
        (memory.MemoryObjectSendStream, ("send_nowait",), (), attrgetter("_state")),
        (memory.MemoryObjectReceiveStream, (), ("receive_nowait",), attrgetter("_state")),
        (backend.TaskGroup, (), ("__aexit__",), _itself),
    ]
    for name in ("Lock", "Semaphore"):  # older releases build them from events
        if (cls := getattr(backend, name, None)) is not None:
            found.append((cls, ("release",), ("acquire", "acquire_nowait"), _itself))
    return found


def _backend() -> Any:
    return import_module("anyio._backends._asyncio")


@contextmanager
def edges_within(stack: list[Edges], current: Current) -> Iterator[None]:
    """Have changes that are made meanwhile undone in the end."""
    stack.append(Edges(current))
    try:
        yield
    finally:
        stack.pop().remove()
