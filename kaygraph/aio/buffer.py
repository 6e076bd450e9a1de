"""The bounded buffer between two sides of a stream."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from .tasks import raise_if_cancelled

T = TypeVar("T")


class Buffer(Generic[T]):
    """A queue of at most ``size`` items that a writer fills and a reader empties in one go.

    Neither side suspends while it can go on: a fast stream crosses in runs of ``size`` items, a
    slow one item by item.
    """

    __slots__ = ("closed", "items", "readers", "size", "writers")

    def __init__(self, size: int) -> None:
        self.size = size
        self.items: deque[T] = deque()
        self.readers: deque[asyncio.Future[None]] = deque()
        self.writers: deque[asyncio.Future[None]] = deque()
        self.closed = False

    async def put(self, item: T) -> None:
        """Add an item once there is room, and wait while there is none for another.

        The item is added even when the wait is cancelled: nothing is lost.
        """
        if len(self.items) >= self.size:
            try:
                await self.room()
            except asyncio.CancelledError:
                self.items.append(item)
                raise
        self.items.append(item)
        if self.readers:
            wake(self.readers)
        if len(self.items) >= self.size:
            await self.room()

    async def room(self) -> None:
        """Wait until there is room for an item."""
        while len(self.items) >= self.size and not self.closed:
            await raise_if_cancelled()  # the reader may be gone
            await _turn(self.writers)
        if self.writers:  # not every writer that was woken adds an item
            wake(self.writers)

    async def filled(self) -> bool:
        """Wait until there is an item, or return False when there will be none."""
        while not self.items:
            if self.closed:
                return False
            await _turn(self.readers)
        return True

    def take(self) -> T:
        """Take the first item; there is one."""
        item = self.items.popleft()
        if self.writers:
            wake(self.writers)
        return item

    def close(self) -> None:
        """Say that no item will follow; readers take what is left."""
        self.closed = True
        for waiting in (self.readers, self.writers):
            while waiting:
                wake(waiting)


def wake(waiting: "deque[asyncio.Future[None]]") -> None:
    """Let the one who has waited longest go on."""
    while waiting:
        turn = waiting.popleft()
        if not turn.done():
            turn.set_result(None)
            return


async def _turn(waiting: "deque[asyncio.Future[None]]") -> None:
    turn = asyncio.get_running_loop().create_future()
    waiting.append(turn)
    try:
        await turn
    except asyncio.CancelledError:
        if not turn.cancelled():
            wake(waiting)  # the turn was ours and is passed on
        raise
