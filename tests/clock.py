"""An event loop whose clock jumps, so that waits cost nothing and can be asserted exactly."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_SILENCE_S = 5.0  # of threads and sockets, in real seconds, where no timer is set


class _JumpingSelector(selectors.DefaultSelector):
    """Where the loop would sleep until its next timer, move the clock there instead.

    Raises:
        RuntimeError: Nothing is ready, no timer is set and no thread calls: a deadlock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self.elapsed += timeout
            timeout = 0
        events = super().select(LONGEST_SILENCE_S if timeout is None else timeout)
        if timeout is None and not events:
            raise RuntimeError("deadlock: every task waits and nothing will ever wake one")
        return events


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A loop that starts at 0 seconds and jumps to the next timer when nothing is ready.

    Without a timer it waits for threads and sockets as any loop does. Threads do not hold the
    clock: use it for coroutines.
    """

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.elapsed

    def advance(self, seconds: float) -> None:
        """Move the clock without waiting for anything, as a call that blocks the loop would."""
        self._clock.elapsed += seconds


VIRTUAL = ("asyncio", {"loop_factory": VirtualClockLoop})  # a value for `anyio_backend`


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own whose clock jumps."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(work)
