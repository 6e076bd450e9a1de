"""Where a worker of a stage puts the values that its items yield."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ..aio.buffer import Buffer, wake
from ..aio.tasks import TURN
from ..limits.slots import Slot
from ..outcome import Outcome
from .order import Order

UNBOUNDED = 2**62  # the size of a buffer that is never full


class StageOutlet:
    """Passes a worker's values to the buffer behind its stage, in the order of the items.

    An item that waits for room holds no permit, and its time limits are paused. When there is
    room, it waits for its permits again, and goes on.
    """

    def __init__(self, outbox: Buffer[Any], slot: Slot, order: Order | None) -> None:
        self.outbox, self.slot, self.order = outbox, slot, order
        self.index = self.count = 0
        self.waited_s = 0.0
        self.blocked_s = 0.0  # how long all items together have waited for room
        self._sink, self._size, self._readers = outbox.items, outbox.size, outbox.readers

    def begin(self, index: int) -> None:
        """Start with an item."""
        self.index, self.count, self.waited_s = index, 0, 0.0

    def put(self, value: Any, /) -> bool:
        """Pass a value on; return False when ``ready`` must be awaited before the next."""
        self.count = count = self.count + 1
        order = self.order
        if order is not None and not order.is_next(self.index):
            order.keep(self.index, value)
            return order.free(self.index) > 0 and count % TURN != 0
        self._sink.append(value)
        if self._readers:
            wake(self._readers)
        return len(self._sink) < self._size and count % TURN != 0

    @property
    def is_late(self) -> bool:
        """Whether the time of the item or its attempt is over."""
        return self.slot.timer is not None and self.slot.timer.rung

    @property
    def free(self) -> int:
        """How many values to put at most before awaiting ``ready`` again; at least 1."""
        if self.order is not None and not self.order.is_next(self.index):
            return max(1, self.order.free(self.index))
        return max(1, self._size - len(self._sink))

    async def ready(self, chunk: bool = False, /) -> None:
        """Wait until there is room for a value, or for a chunk of them; let other tasks run."""
        order, index = self.order, self.index
        if order is not None and not order.is_next(index) and order.free(index) <= 0:
            await self._held_up(self._turn(order))
        if order is None or order.is_next(index):
            number = max(1, self._size // 2) if chunk and self._size < UNBOUNDED else 1
            if len(self._sink) > self._size - number:
                await self._held_up(self.outbox.room(number))
        if self.count % TURN == 0:
            await asyncio.sleep(0)
        if not self.slot.held:  # an earlier wait was cancelled, but not because of the item
            await self.slot.go_on()

    async def _turn(self, order: Order) -> None:
        """Wait for the item's turn, or until more of its values may be kept."""
        while not order.is_next(self.index) and order.free(self.index) <= 0:
            await order.advanced()

    async def _held_up(self, wait: Awaitable[None]) -> None:
        """Wait for others, without permits and outside of the time limits."""
        slot, clock = self.slot, asyncio.get_running_loop().time
        slot.give()
        began = clock()
        timer = slot.timer
        left = None if timer is None else timer.hold()
        try:
            try:
                await wait
            finally:
                self.blocked_s += clock() - began
            await slot.go_on()
        finally:
            now = clock()
            self.waited_s += now - began
            if timer is not None and left is not None:
                timer.go_on(left)


class ReadOutlet(StageOutlet):
    """An outlet whose values also go to another receiver, as they are yielded."""

    def __init__(self, read: Callable[[Outcome[Any]], None], name: str, *args: Any) -> None:
        super().__init__(*args)
        self._read, self._name = read, name

    def put(self, value: Any, /) -> bool:
        self._read(Outcome(self._name, self.index, "ok", value))
        return super().put(value)
