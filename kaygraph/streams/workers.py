"""The workers of a stage, started when needed."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import copy_context

from ..aio.buffer import Buffer, wake, woken


class Workers:
    """Starts and wakes the workers of a stage.

    One is enough for items that never suspend. When a worker's item suspends, a check finds whether
    more items are in the inbox, and starts others for them: one at first, then twice as many at
    each check. When there are none, one waits at the inbox; those that have nothing to do wait
    here.

    Args:
        inbox: Where the items come from.
        most: The maximum number of workers.
        start: Starts another one, in the current context.
        is_held_up: Whether finished values cannot be passed on, so that others would only wait too.

    Attributes:
        started: How many there are.
        looks: Whether a check is pending.
    """

    def __init__(
        self,
        inbox: Buffer[object],
        most: int,
        start: Callable[[int], None],
        is_held_up: Callable[[], bool],
    ) -> None:
        self._inbox, self._most, self._start, self._is_held_up = inbox, most, start, is_held_up
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # what no item has changed
        self._idle: deque[asyncio.Future[None]] = deque()
        self._one_at_inbox = False
        self._next = 1  # how many start at the next check
        self._growth = 2
        self.started = 0
        self.looks = False

    def start(self) -> None:
        """Start the first."""
        self._come(1)

    def look_soon(self) -> None:
        """Check for work for others when the calling worker has suspended or ended."""
        self.looks = True
        self._loop.call_soon(self._look, context=self._context)

    async def wanted(self) -> None:
        """Wait until a check finds that another worker is needed."""
        await woken(self._idle)

    async def item_came(self) -> bool:
        """Wait until there may be an item; return False when none will come."""
        inbox = self._inbox
        if self._one_at_inbox and not inbox.closed:
            await self.wanted()
            return True
        self._one_at_inbox = True
        try:
            more = await inbox.filled()
        finally:
            self._one_at_inbox = False
        if not more:
            self._wake_all()
        return more

    def _look(self) -> None:
        self.looks = False
        if self._one_at_inbox:  # and goes on when there is one
            return
        inbox = self._inbox
        if self._is_held_up():
            self._next = self._growth = 1
        elif waiting := len(inbox.items):
            self._come(min(waiting, self._next))
            self._next *= self._growth
        else:
            self._next = 1
            if inbox.closed:  # those that wait for the order to go on must see the end
                self._wake_all()
            else:
                self._come(1)

    def _wake_all(self) -> None:
        while self._idle:
            wake(self._idle)

    def _come(self, number: int) -> None:
        for _ in range(number):
            if self._idle:
                wake(self._idle)
            elif self.started < self._most:
                self.started += 1
                self._start(self.started - 1)
            else:
                return
