"""What one call of ``exec`` takes where it runs: processor time, and when it ended."""

from collections.abc import Callable
from time import monotonic, thread_time
from typing import Any, TypeVar

from ..limits.slots import Slot
from .elsewhere import run_to_end

T = TypeVar("T")


class Meter:
    """Runs an ``exec`` and measures the processor time of the thread that it runs in."""

    cpu_s = 0.0
    ended: float | None = None

    def run_to_end(self, node: Any, item: Any) -> Any:
        """As the function of that name."""
        return self.measured(run_to_end, node, item)

    def measured(self, work: Callable[..., T], *args: Any) -> T:
        """Do some of the work in this thread."""
        before = thread_time()
        try:
            return work(*args)
        finally:
            self.cpu_s += thread_time() - before
            self.ended = monotonic()

    def add_to(self, slot: Slot) -> None:
        """Add what was measured to an item's usage; called on the loop, once it has the result."""
        if self.ended is None:  # the call was cancelled before it began
            return
        used = slot.usage
        pickup_s = used.pickup_s + max(0.0, monotonic() - self.ended)
        slot.usage = used._replace(cpu_s=used.cpu_s + self.cpu_s, pickup_s=pickup_s)
