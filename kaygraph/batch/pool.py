"""The workers of a batch or a stage: started when needed."""

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
    """Workers that pull items; waiting items do not reduce the number of those that work.

    There is no queue of waiting items. When an item begins to wait (for its next attempt, or for a
    full key), its worker gives its permits back and stays with it, and a stand-in goes on with the
    next items. A worker that was replaced ends with its item. At most ``max_waiting`` workers are
    replaced at a time; any other whose item waits holds up the items behind it.

    If workers start on demand, one is on standby: it has just started, or waits for permits. When
    it has taken an item, it starts others, as many as there are, until all have started. So items
    that never suspend need two workers. Of many without a permit, one queues for it, and the
    others are idle until that one has taken an item.

    Args:
        gathering: The Gathering of the workers; the first that fails ends the others.
        work: ``(number, context) -> coroutine`` of a worker, which runs in that context; numbers
            are reused.
        size: The maximum number of workers, not counting those that were replaced.
        max_waiting: How many may be replaced.
        is_over: Whether a stand-in would have nothing to do.
        on_demand: Whether they start one by one; otherwise all start at once.

    Attributes:
        waited_s: How long items have waited in total, also for permits, in seconds.
        at_work: How many workers there are.
        waiter: Where the worker on standby waits for permits: it holds up none of its siblings.
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
        self._kept: dict[Slot, None] = {}  # whose item waits, and that are not replaced
        self._known, self._numbers = 0, list[int]()
        # A stand-in does not see the context variables of another worker's items.
        self._context = copy_context()
        self._on_demand, self._standing_by = on_demand, 0
        self._between = 0  # workers that yield to others between two items
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
        """Whether another worker would have nothing to do, or would be left running."""
        return self._is_over() or self._gathering.is_ending

    # --- workers started on demand ----------------------------------------------------------------

    def _provide(self) -> None:
        """Make sure that a worker is on standby, if one may be."""
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
        """Record that the worker on standby has taken an item."""
        slot.stands_by = False
        self._standing_by -= 1
        if not self._standing_by:
            self._provide()

    async def take_turns(self) -> None:
        """Give other tasks a turn, from a worker without an item.

        The worker on standby is not needed: an item that has not started does not suspend.
        """
        self._between += 1
        try:
            await asyncio.sleep(0)
        finally:
            self._between -= 1

    async def permit(self, slot: Slot) -> bool:
        """Acquire the permits of a worker without an item; return False if it must end.

        Only one queues for them; the others are idle.
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
        """Record which worker waits for a permit, also for the idle and unstarted ones."""
        self.waiter, self._line_since = waiter, since

    @property
    def in_line(self) -> int:
        """How many workers have no item while one of them waits for a permit; at least 1."""
        working = self.at_work - self._standing_by - len(self._idle)
        return max(1, self._size + self._replaced - working)

    def with_line(self, usage: Usage, at: float) -> Usage:
        """Return the usage of an item plus the queueing time of all waiting workers.

        The time counts since the last call: the items that others end have the rest.
        """
        waiter = self.waiter
        if waiter is None:
            return usage
        waited_s = max(0.0, at - self._line_since) * self.in_line
        self._line_since = at
        setting = waiter.obstacle.setting
        return usage._replace(queued_s=usage.queued_s + waited_s, queued_for=setting)

    async def _be_idle(self, slot: Slot) -> None:
        """Wait until a worker on standby is needed."""
        idle: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        slot.stands_by = await idle

    def finish(self) -> None:
        """End the workers that wait here: no items are left."""
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(False)

    def failed_at(self, index: int) -> None:
        """Sort the error that ends the current worker by the position of its item."""
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
        """Record that the item of a worker no longer waits, and how long it has waited."""
        self.waited_s += waited_s
        self._kept.pop(slot, None)

    def is_surplus(self, slot: Slot) -> bool:
        """Whether a worker that was replaced ends, now that its item is done."""
        slot.replaced = False
        self._replaced -= 1
        if self._kept and not self._is_over():  # it goes on as the stand-in of another
            other = next(iter(self._kept))
            del self._kept[other]
            self._stand_in_for(other)
            return False
        if self.at_work <= self._size + self._replaced:  # nothing replaced it
            return False
        self.at_work -= 1
        heappush(self._numbers, slot.worker)
        return True

    def _stand_in_for(self, slot: Slot) -> None:
        slot.replaced = True
        self._replaced += 1
