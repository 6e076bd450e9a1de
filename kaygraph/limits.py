"""Permits: how many may work at once."""

import asyncio
from collections import deque


class Permits:
    """A counting semaphore that serves in order and can be asked whether somebody waits.

    Made for one run and its loop. A permit given back goes straight to the one who has waited
    longest, so that a worker who keeps taking cannot overtake.
    """

    __slots__ = ("free", "waiting")

    def __init__(self, size: int) -> None:
        self.free = size
        self.waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for a permit and take it."""
        if self.free:  # nobody waits while one is free: give() would have handed it over
            self.free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # handed over in the very step in which we were cancelled
                self.give()
            elif turn in self.waiting:  # give() may have passed it over already
                self.waiting.remove(turn)
            raise

    def give(self) -> None:
        """Give a permit back."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1


class Slot:
    """The place in which a worker works: the permits it holds and the figures of its item.

    All caps are taken in the order given (the node's own first, the outermost graph's last), so
    that no two holders can wait for each other.
    """

    __slots__ = ("attempts", "caps", "held", "seconds", "timed", "until", "worker")

    def __init__(
        self, caps: tuple[Permits, ...] = (), worker: int = 0, timed: bool = False
    ) -> None:
        self.caps, self.worker, self.timed = caps, worker, timed
        self.held = 0
        self.attempts = 0
        self.seconds = 0.0
        self.until: float | None = None  # the deadline of its item, by the loop's clock

    async def take(self) -> None:
        """Hold every permit; at once when they are held already."""
        while self.held < len(self.caps):
            await self.caps[self.held].take()
            self.held += 1

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for one of the permits."""
        return any(cap.waiting for cap in self.caps)

    def give(self) -> None:
        """Hold none."""
        while self.held:
            self.held -= 1
            self.caps[self.held].give()
