"""The clock of a limit that outlives a run."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

State = TypeVar("State")

# A loop whose time differs from the machine's by more than this has its own clock. The difference
# must be large: some loops cache the time of an iteration, so a blocked loop is late.
APART_S = 60.0


class Clocked(Generic[State]):
    """State that runs share: one for all loops that use the machine's clock.

    A loop with its own clock (in a simulation) has its own state, so that virtual and real seconds
    never share a window.
    """

    def __init__(self, make: Callable[[], State]) -> None:
        self._make = make
        self._real = make()
        self._own: WeakKeyDictionary[asyncio.AbstractEventLoop, State] = WeakKeyDictionary()

    def here(self) -> tuple[State, float]:
        """Return the state for the running loop and the time in seconds."""
        loop = asyncio.get_running_loop()
        if not has_own_clock(loop):
            return self._real, time.monotonic()
        if loop not in self._own:
            self._own[loop] = self._make()
        return self._own[loop], loop.time()

    def clock(self) -> Callable[[], float]:
        """Return the clock of the running loop, in seconds."""
        loop = asyncio.get_running_loop()
        return loop.time if has_own_clock(loop) else time.monotonic


def has_own_clock(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop's seconds are not those of the machine: it is that of a simulation."""
    return abs(loop.time() - time.monotonic()) >= APART_S or getattr(loop, "own_clock", False)
