"""Puts the results of several workers back into the order of their items."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from ..aio.buffer import wake


class Order:
    """Keeps the results of an item until those of all earlier items have been handed over.

    Args:
        window: How many items may be taken, counted from the first that is not done.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._next = 0  # the index of the item whose results come next
        self._kept: dict[int, Sequence[Any]] = {}
        self._handing_over = False
        self._waiters: deque[asyncio.Future[None]] = deque()

    def is_full(self, taken: int) -> bool:
        """Whether no more items may be taken until the first that is not done is done."""
        return taken - self._next >= self.window

    async def advanced(self) -> None:
        """Wait until the results of another item have been handed over."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def due(self, index: int, results: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Keep an item's results, and yield all results whose turn has come, in order.

        Only one worker hands over at a time: it also yields what others add meanwhile, and they
        get nothing.
        """
        kept = self._kept
        kept[index] = results
        if self._handing_over:
            return
        self._handing_over = True
        while self._next in kept:
            yield kept.pop(self._next)
            self._next += 1
            while self._waiters:
                wake(self._waiters)
        self._handing_over = False

    def rest(self) -> Iterator[Any]:
        """Yield, in order, the results that still wait for their turn."""
        for index in sorted(self._kept):
            yield from self._kept.pop(index)
