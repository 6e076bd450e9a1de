"""Whether one more concurrent thread would gain anything."""

import asyncio
from collections import deque

# Between two checks: ever longer, since a computing thread has to yield the interpreter for each.
SOON_S, SELDOM_S = 0.002, 0.016

# How long the loop waits at least for a computing thread: half of sys.getswitchinterval().
LATE_S = 0.0025

# The loop has waited at most this much longer (or less) than it found the interpreter free. One
# check that finds it free is enough in the beginning, but not later: between two calls it is.
FREE_S, MOST_FREE_S, LEAST_FREE_S = 0.05, 0.02, -0.1

STUCK_S = 1.0  # a call that has not ended by then may wait for one that has not started


class Contention:
    """Lets one thread run, and more of them while those that run leave the interpreter free.

    Threads that compute gain nothing by being several: they take the interpreter and the
    processor's caches from each other. Those that wait, or compute outside of the interpreter, do
    gain. How long the event loop waits for the interpreter when it wakes up shows which it is.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._free_s = 0.0  # above zero: others may run concurrently
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due, self._next_s = 0.0, SOON_S
        self._ended = self._loop.time()  # when a call last did

    def has_room(self, running: int) -> bool:
        """Whether one more may start while this many run."""
        return not running or self._free_s > 0

    async def room(self) -> None:
        """Wait until there may be room."""
        waiting = self._loop.create_future()
        self._waiting.append(waiting)
        if self._timer is None:
            self._look_later()
        try:
            await waiting
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def ended(self) -> None:
        """Record that a call has ended."""
        self._ended = self._loop.time()
        self._wake(1)

    def close(self) -> None:
        """Release all that wait."""
        self._free_s = MOST_FREE_S
        self._wake(len(self._waiting))
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._due = self._loop.time() + self._next_s
        self._timer = self._loop.call_at(self._due, self._look)
        self._next_s = min(2 * self._next_s, SELDOM_S)

    def _look(self) -> None:
        now = self._loop.time()
        late_s = now - self._due
        if late_s < LATE_S or now - self._ended > STUCK_S:
            self._free_s = min(self._free_s + FREE_S, MOST_FREE_S)
        else:
            self._free_s = max(self._free_s - late_s, LEAST_FREE_S)
        if self._free_s > 0:
            self._wake(len(self._waiting))
        self._look_later()

    def _wake(self, number: int) -> None:
        while number and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                number -= 1
