"""The bounded buffer between the writers and the readers of a stream."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from .tasks import raise_if_cancelled

T = TypeVar("T")


class Buffer(Generic[T]):
    """A queue of at most ``size`` items, with any number of writers and readers.

    A writer suspends only while the buffer is full, a reader only while it is empty: items of a
    fast stream are passed on ``size`` at a time, those of a slow one one by one.
    """

    __slots__ = ("closed", "items", "readers", "size", "writers")

    def __init__(self, size: int) -> None:
        self.size = size
        self.items: deque[T] = deque()
        self.readers: deque[asyncio.Future[None]] = deque()
        self.writers: deque[asyncio.Future[None]] = deque()
        self.closed = False

    async def put(self, item: T) -> None:
        """Add an item once there is room, then wait until there is room for the next.

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

    async def room(self, number: int = 1) -> None:
        """Wait until there is room for an item, or for that many."""
        while len(self.items) > self.size - number and not self.closed:
            await raise_if_cancelled()  # the reader may be gone
            await woken(self.writers)
        if self.writers:  # not every writer that was woken adds an item
            wake(self.writers)

    async def filled(self) -> bool:
        """Wait for an item; return False when the buffer is empty and closed."""
        while not self.items:
            if self.closed:
                return False
            await woken(self.readers)
        return True

    def take(self) -> T:
        """Remove and return the first item. The buffer must not be empty."""
        item = self.items.popleft()
        if self.writers:
            wake(self.writers)
        return item

    def take_many(self, most: int) -> list[T]:
        """Remove and return the first items, at most that many."""
        items, writers = self.items, self.writers
        number = min(most, len(items))
        if number == len(items):
            taken = [*items]
            items.clear()
        else:
            taken = [items.popleft() for _ in range(number)]
        for _ in range(min(number, len(writers))):
            wake(writers)
        return taken

    def extend(self, items: Sequence[T]) -> None:
        """Add items, for which there must be room."""
        self.items.extend(items)
        for _ in range(min(len(items), len(self.readers))):
            wake(self.readers)

    def close(self) -> None:
        """Declare that no more items will be added. Readers still get those that are there."""
        self.closed = True
        for waiters in (self.readers, self.writers):
            while waiters:
                wake(waiters)


def wake(waiters: "deque[asyncio.Future[None]]") -> None:
    """Wake the task that has waited the longest."""
    while waiters:
        waiter = waiters.popleft()
        if not waiter.done():
            waiter.set_result(None)
            return


async def woken(waiters: "deque[asyncio.Future[None]]") -> None:
    """Wait until this task is woken."""
    waiter = asyncio.get_running_loop().create_future()
    waiters.append(waiter)
    try:
        await waiter
    except asyncio.CancelledError:
        if not waiter.cancelled():
            wake(waiters)  # woken and cancelled in the same step: another task goes on instead
        raise
