"""The order of a stream, behind workers that finish in any order."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from ..aio.buffer import wake


class Order:
    """Keeps the results of items until those of all earlier items have been handed over.

    Args:
        window: How many items, counted from the first that is not done, may have been taken.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._next = 0  # the index of the item whose results come next
        self._kept: dict[int, Sequence[Any]] = {}
        self._handing_over = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    def is_full(self, taken: int) -> bool:
        """Whether no more items may be taken until the first that is not done is done."""
        return taken - self._next >= self.window

    async def advanced(self) -> None:
        """Wait until the results of another item have been handed over."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def due(self, index: int, results: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Keep an item's results, and yield those of all items whose turn has come.

        While one worker hands over, another gets none: the first finds the new ones in their turn.
        """
        kept = self._kept
        kept[index] = results
        if self._handing_over:
            return
        self._handing_over = True
        while self._next in kept:
            yield kept.pop(self._next)
            self._next += 1
            while self._waiting:
                wake(self._waiting)
        self._handing_over = False

    def rest(self) -> Iterator[Any]:
        """Yield, in order, the results that still wait for their turn."""
        for index in sorted(self._kept):
            yield from self._kept.pop(index)
