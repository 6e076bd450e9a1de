"""The primitives of asyncio, followed: whatever their methods do touches them.

What is not followed is used without a reduction: connections, anyio's own primitives and scopes,
and runs of graphs.
"""

import asyncio
import sys
from asyncio import locks, queues, tasks, timeouts
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from inspect import iscoroutinefunction, isfunction
from typing import Any

from ..run.run import Run
from ._footprints import Footprints, touching

# Returns the footprints of the simulation that runs, or None.
Current = Callable[[], Footprints | None]

_FOLLOWED = (
    locks.Barrier, locks.BoundedSemaphore, locks.Condition, locks.Event, locks.Lock,
    locks.Semaphore, queues.LifoQueue, queues.PriorityQueue, queues.Queue, asyncio.TaskGroup,
    timeouts.Timeout,
)  # fmt: skip

# Of anyio's backend and of its streams.
_UNKNOWN = ("CancelScope", "CapacityLimiter", "Event", "Lock", "Semaphore", "TaskGroup")
_STREAMS = ("MemoryObjectReceiveStream", "MemoryObjectSendStream")


@contextmanager
def touching_primitives(current: Current) -> Iterator[None]:
    """Have the primitives note what touches them; their classes are as before afterwards."""
    changed: list[tuple[Any, str, Any]] = []
    for cls, name, function in _changes(current):
        changed.append((cls, name, vars(cls).get(name)))
        setattr(cls, name, function)
    try:
        yield
    finally:
        for cls, name, before in reversed(changed):
            if before is None:
                delattr(cls, name)
            else:
                setattr(cls, name, before)


def _changes(current: Current) -> Iterator[tuple[Any, str, Any]]:
    for cls in _FOLLOWED:
        for name, function in list(vars(cls).items()):
            if isfunction(function) and name != "__repr__":
                made = name == "__init__"
                yield cls, name, (_made if made else _touching)(current, function)
    gathering: Any = tasks._GatheringFuture  # type: ignore[attr-defined]
    yield gathering, "__init__", _made(current, gathering.__init__)
    for name, function in touching(gathering).items():
        yield gathering, name, function
    for cls in [Run, *_of_anyio()]:
        yield cls, "__init__", _unknown(current, cls.__init__)


def _of_anyio() -> list[Any]:
    if "anyio" not in sys.modules:
        return []
    backend, memory = (
        import_module(name) for name in ("anyio._backends._asyncio", "anyio.streams.memory")
    )
    found = [getattr(backend, name, None) for name in _UNKNOWN]  # older releases have fewer
    return [*filter(None, found), *(getattr(memory, name) for name in _STREAMS)]


def _made(current: Current, function: Any) -> Any:
    def makes(self: Any, *args: Any, **settings: Any) -> None:
        if (footprints := current()) is not None:
            footprints.add(self)
        function(self, *args, **settings)

    return makes


def _touching(current: Current, function: Any) -> Any:
    def touch(self: Any) -> None:
        if (footprints := current()) is not None:
            footprints.touch(self)

    async def touches_later(self: Any, *args: Any, **settings: Any) -> Any:
        touch(self)
        try:
            return await function(self, *args, **settings)
        finally:  # in another step, if it had to wait
            touch(self)

    def touches(self: Any, *args: Any, **settings: Any) -> Any:
        touch(self)
        return function(self, *args, **settings)

    return touches_later if iscoroutinefunction(function) else touches


def _unknown(current: Current, function: Any) -> Any:
    def makes(self: Any, *args: Any, **settings: Any) -> None:
        if (footprints := current()) is not None:
            footprints.give_up()
        function(self, *args, **settings)

    return makes
