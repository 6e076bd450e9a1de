"""The workers of a batch or a stage, of which one whose item waits is replaced."""

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from heapq import heappop, heappush
from typing import Any

from ..aio.tasks import Gathering
from ..limits.slots import Slot


class WorkerPool:
    """Workers that pull items; the number of those at work does not fall while items wait.

    There is no queue of items that wait. When an item begins to wait (for its next attempt, or for
    a key that is full), its worker gives its permits back and stays with it, and a stand-in goes on
    with the next items. A worker that was replaced ends with its item. At most ``max_waiting``
    workers are replaced at a time; any other whose item waits holds up the items behind it.

    Args:
        gathering: What the workers are added to; the first that fails ends the others.
        work: ``(number) -> coroutine`` of a worker; numbers are reused.
        size: How many workers there are to begin with.
        max_waiting: How many may be replaced.
        is_over: Whether there is nothing left to do for a stand-in.

    Attributes:
        waited_s: How long items have waited, also in line for a permit, in seconds, in all.
    """

    def __init__(
        self,
        gathering: Gathering[None],
        work: Callable[[int], Coroutine[Any, Any, None]],
        size: int,
        max_waiting: int,
        is_over: Callable[[], bool],
    ) -> None:
        self._gathering, self._work, self._is_over = gathering, work, is_over
        self._max_waiting, self._replaced = max_waiting, 0
        self._kept: dict[Slot, None] = {}  # of whom the item waits, and that are not replaced
        self._workers, self._numbers = size, list[int]()
        self._context = copy_context()  # a stand-in sees nothing that another's items have bound
        self.waited_s = 0.0
        for number in range(size):
            gathering.add(work(number))

    def pause(self, slot: Slot) -> None:
        """Replace a worker whose item begins to wait."""
        if slot.replaced:
            return
        if self._replaced >= self._max_waiting or self._is_over():
            self._kept[slot] = None
            return
        self._stand_in_for(slot)
        if self._numbers:
            number = heappop(self._numbers)
        else:
            number, self._workers = self._workers, self._workers + 1
        self._gathering.add(self._work(number), self._context.copy())

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
        heappush(self._numbers, slot.worker)
        return True

    def _stand_in_for(self, slot: Slot) -> None:
        slot.replaced = True
        self._replaced += 1
