"""The workers of a batch or a stage: they come when they are needed."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import Any

from ..aio.tasks import Gathering, current_task
from ..events import Usage
from ..limits.permits import Waiter
from ..limits.slots import Slot


class WorkerPool:
    """Workers that pull items; the number of those at work does not fall while items wait.

    There is no queue of items that wait. When an item begins to wait (for its next attempt, or for
    a key that is full), its worker gives its permits back and stays with it, and a stand-in goes on
    with the next items. A worker that was replaced ends with its item. At most ``max_waiting``
    workers are replaced at a time; any other whose item waits holds up the items behind it.

    Where workers come on demand, one stands by: it was just started, or waits for permits. When it
    has taken an item, others are started, as many as there are, until there are all. So items that
    never suspend need two workers. Of many for whom there is no permit one stands in line for it,
    and the others are idle, until the one has taken an item.

    Args:
        gathering: What the workers are added to; the first that fails ends the others.
        work: ``(number, context) -> coroutine`` of a worker, which runs in that context; numbers
            are reused.
        size: How many workers there are at most, besides those that were replaced.
        max_waiting: How many may be replaced.
        is_over: Whether there is nothing left to do for a stand-in.
        on_demand: Whether they come one by one; else as many as there may be begin at once.

    Attributes:
        waited_s: How long items have waited, also in line for a permit, in seconds, in all.
        at_work: How many workers there are.
        waiter: Where the one that stands by waits for permits: that holds up nobody of its own.
    """

    def __init__(
        self,
        gathering: Gathering[None],
        work: Callable[[int, Context], Coroutine[Any, Any, None]],
        size: int,
        max_waiting: int,
        is_over: Callable[[], bool],
        on_demand: bool = False,
    ) -> None:
        self._gathering, self._work, self._is_over = gathering, work, is_over
        self._size, self._max_waiting, self._replaced = size, max_waiting, 0
        self._kept: dict[Slot, None] = {}  # of whom the item waits, and that are not replaced
        self._known, self._numbers = 0, list[int]()
        self._context = copy_context()  # a stand-in sees nothing that another's items have bound
        self._on_demand, self._standing_by = on_demand, 0
        self._between = 0  # workers that let others have their turn, between two items
        self._idle: deque[asyncio.Future[bool]] = deque()
        self.waited_s = 0.0
        self.at_work = 0
        self.waiter: Waiter | None = None
        self._line_since = 0.0
        for _ in range(1 if on_demand else size):
            self._start()

    def _start(self) -> None:
        if self._numbers:
            number = heappop(self._numbers)
        else:
            number, self._known = self._known, self._known + 1
        self.at_work += 1
        self._standing_by += self._on_demand
        context = self._context.copy()
        self._gathering.add(self._work(number, context), context)

    def _has_ended(self) -> bool:
        """Whether another worker would have nothing to do, or would be left behind."""
        return self._is_over() or self._gathering.is_ending

    # --- workers that come on demand --------------------------------------------------------------

    def _provide(self) -> None:
        """See to it that somebody stands by, if anybody may."""
        if self._has_ended():
            return
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                self._standing_by += 1
                idle.set_result(True)
                return
        for _ in range(min(self.at_work, self._size + self._replaced - self.at_work)):
            self._start()

    def took_item(self, slot: Slot) -> None:
        """Note that one who stood by has taken an item."""
        slot.stands_by = False
        self._standing_by -= 1
        if not self._standing_by:
            self._provide()

    async def take_turns(self) -> None:
        """Let other tasks have their turn, of a worker that has no item.

        Whoever stands by is not needed: an item that is not begun does not suspend.
        """
        self._between += 1
        try:
            await asyncio.sleep(0)
        finally:
            self._between -= 1

    async def permit(self, slot: Slot) -> bool:
        """Acquire the permits of a worker without an item; return False if it is to end.

        Only one stands in line for them; the others are idle.
        """
        # No event: a worker between two items goes on in the next step of the loop.
        while slot.stands_by and self._between and not self._is_over():  # noqa: ASYNC110
            await asyncio.sleep(0)
        while not (self._is_over() or slot.try_take()):
            if self.waiter is not None or (self._standing_by and not slot.stands_by):
                self._standing_by -= slot.stands_by
                slot.stands_by = False
                await self._be_idle(slot)
            else:
                self._standing_by += not slot.stands_by
                slot.stands_by = True
                await slot.take()
        return bool(slot.held)

    def stand_in_line(self, waiter: Waiter, since: float) -> None:
        """Note who waits for a permit, for itself and for those that are idle or not begun."""
        self.waiter, self._line_since = waiter, since

    @property
    def in_line(self) -> int:
        """How many workers have no item where one of them waits for a permit; at least 1."""
        working = self.at_work - self._standing_by - len(self._idle)
        return max(1, self._size + self._replaced - working)

    def with_line(self, usage: Usage, at: float) -> Usage:
        """Return what an item has used with the time in line of all who wait meanwhile.

        That is since the time was last asked for: the items that others end have it.
        """
        waiter = self.waiter
        if waiter is None:
            return usage
        waited_s = max(0.0, at - self._line_since) * self.in_line
        self._line_since = at
        setting = waiter.obstacle.setting
        return usage._replace(queued_s=usage.queued_s + waited_s, queued_for=setting)

    async def _be_idle(self, slot: Slot) -> None:
        """Wait until somebody is needed who stands by."""
        idle: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        slot.stands_by = await idle

    def finish(self) -> None:
        """Let those end that wait here: there are no more items."""
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(False)

    def failed_at(self, index: int) -> None:
        """Have the error that ends the current worker stand where its item does, among others."""
        task = current_task()
        assert task is not None
        self._gathering.places[task] = index

    # --- items that wait --------------------------------------------------------------------------

    def pause(self, slot: Slot) -> None:
        """Replace a worker whose item begins to wait."""
        if slot.replaced:
            return
        if self._replaced >= self._max_waiting or self._has_ended():
            self._kept[slot] = None
            return
        self._stand_in_for(slot)
        if not self._on_demand:
            self._start()
        elif not self._standing_by:
            self._provide()

    def resume(self, slot: Slot, waited_s: float) -> None:
        """Note that the item of a worker waits no longer, and how long it has waited."""
        self.waited_s += waited_s
        self._kept.pop(slot, None)

    def is_surplus(self, slot: Slot) -> bool:
        """Whether a worker that was replaced ends, now that its item is done."""
        slot.replaced = False
        self._replaced -= 1
        if self._kept and not self._is_over():  # it goes on, as the stand-in of another
            other = next(iter(self._kept))
            del self._kept[other]
            self._stand_in_for(other)
            return False
        if self.at_work <= self._size + self._replaced:  # nobody came in its place
            return False
        self.at_work -= 1
        heappush(self._numbers, slot.worker)
        return True

    def _stand_in_for(self, slot: Slot) -> None:
        slot.replaced = True
        self._replaced += 1
