"""Puts the results of several workers back into the order of their items."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from ..aio.buffer import wake


class Order:
    """Keeps the values of an item until those of all earlier items have been handed over.

    The first unfinished item passes its values on itself, as they come. Those of the items behind
    it wait here: for each, no more than a worker's share of ``window``.

    Args:
        window: How many items may be taken, counted from the first unfinished one.
        workers: How many items run at once.

    Attributes:
        next: The index of the item whose values come next.
        kept: How many values wait here.
        holds: Whether any items wait here, or are being handed over. If not, the next item need
            not come here: the code that passes on its result advances ``next``.
    """

    def __init__(self, window: int, workers: int) -> None:
        self.window = window
        self.next = self.kept = 0
        self.holds = False
        self._share = max(1, window // workers)
        self._done: dict[int, Sequence[Any]] = {}
        self._begun: dict[int, list[Any]] = {}  # the values of unfinished items
        self._handing_over = False
        self._waiters: deque[asyncio.Future[None]] = deque()

    def is_full(self, taken: int) -> bool:
        """Whether no more items may be taken until the first unfinished one ends."""
        return taken - self.next >= self.window or self.kept >= self.window

    async def advanced(self) -> None:
        """Wait until more values have been handed over."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def is_next(self, index: int) -> bool:
        """Whether an unfinished item hands over its values itself."""
        return index == self.next and not self._handing_over

    def keep(self, index: int, value: Any) -> None:
        """Keep a value of an unfinished item whose turn has not come."""
        self.holds = True
        self._begun.setdefault(index, []).append(value)
        self.kept += 1

    def free(self, index: int) -> int:
        """Return how many more values of such an item may be kept."""
        return self._share - len(self._begun.get(index, ()))

    def due(self, index: int, results: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Keep an item's last values, and yield all values whose turn has come, in order.

        Only one worker hands over at a time: it also yields what others add in the meantime, and
        they get nothing.
        """
        done, begun = self._done, self._begun
        self.kept += len(results)
        done[index] = [*begun.pop(index), *results] if index in begun else results
        self.holds = True
        if self._handing_over:
            return
        self._handing_over = True
        while True:
            if ended := self.next in done:
                values = done.pop(self.next)
            elif self.next in begun:  # from here on it hands over itself
                values = begun.pop(self.next)
            else:
                break
            if values:
                yield values
            self.next += ended
            self.kept -= len(values)
            while self._waiters:
                wake(self._waiters)
        self._handing_over = False
        self.holds = bool(done or begun)

    def rest(self) -> Iterator[Any]:
        """Yield, in order, the values that still wait for their turn."""
        for index in sorted({*self._done, *self._begun}):
            yield from self._done.pop(index, ())
            yield from self._begun.pop(index, ())
