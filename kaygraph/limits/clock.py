"""Which clock a limit goes by that outlives a run."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

State = TypeVar("State")

# A loop whose time is further from the machine's than this has a clock of its own. Some loops keep
# the time of their last turn, so that one that was blocked is late.
APART_S = 60.0


class Clocked(Generic[State]):
    """State that runs share: one for all who go by the machine's clock.

    A loop with a clock of its own (a simulation's) has a state of its own, so that its seconds and
    the real ones never meet in one window.
    """

    def __init__(self, make: Callable[[], State]) -> None:
        self._make = make
        self._real = make()
        self._own: WeakKeyDictionary[asyncio.AbstractEventLoop, State] = WeakKeyDictionary()

    def here(self) -> tuple[State, float]:
        """Return the state that holds on the running loop, and the time in seconds."""
        loop = asyncio.get_running_loop()
        now, real = loop.time(), time.monotonic()
        if abs(now - real) < APART_S and not getattr(loop, "own_clock", False):
            return self._real, real
        if loop not in self._own:
            self._own[loop] = self._make()
        return self._own[loop], now
