"""The order in which the items of an unordered node ended."""

import asyncio


class Sequence:
    """Hands over items in the recorded order, and new ones after them.

    If the items have changed, and all workers wait for one that never comes, the next one moves on;
    if workers are free, ``give_up`` lets it move on.

    Args:
        recorded: How many items have a place.
        workers: How many items can be in flight.
    """

    def __init__(self, recorded: int, workers: int) -> None:
        self._workers = workers
        self._places = recorded
        self._next = 0
        self._active = 0
        self._changes = 0
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def begin(self) -> None:
        """Note that an item has started."""
        self._active += 1
        self._changes += 1

    def end(self) -> None:
        """Note that an item has ended."""
        self._active -= 1
        self._changes += 1
        self._look()

    def add(self) -> int:
        """Return the place of a new item."""
        self._places += 1
        return self._places - 1

    @property
    def waits(self) -> bool:
        """Whether an item is waiting for others."""
        return bool(self._waiting)

    def is_next(self, place: int) -> bool:
        """Whether ``take`` would not wait."""
        return place <= self._next

    async def take(self, place: int) -> None:
        """Wait until an item is next."""
        while place > self._next:
            future = self._waiting[place] = asyncio.get_running_loop().create_future()
            self._look()
            try:
                await future
            finally:
                del self._waiting[place]
        self._next = max(self._next, place + 1)
        self._changes += 1
        self._wake()

    def _wake(self) -> None:
        future = self._waiting.get(self._next)
        if future is not None and not future.done():
            future.set_result(None)

    def _look(self) -> None:
        """Check, a moment later, whether all workers are waiting for something else."""
        if self._waiting and len(self._waiting) == self._active >= self._workers:
            asyncio.get_running_loop().call_soon(self._looked, self._changes)

    def _looked(self, changes: int) -> None:
        if changes == self._changes:
            self.give_up()

    def give_up(self) -> bool:
        """Let the next one move on if it waits for what never comes; return whether it did."""
        if not self._waiting or any(future.done() for future in self._waiting.values()):
            return False
        self._next = max(self._next, min(self._waiting))
        self._wake()
        return True
