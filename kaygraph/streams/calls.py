"""How a stage's items run, with and without a receiver of their results."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from ..aio.buffer import Buffer
from ..limits.slots import Slot
from ..node.call import Work
from ..node.node import Node
from ..outcome import Outcome
from ..run.frame import Frame
from ..run.tap import Tap
from .order import Order
from .outlet import ReadOutlet, StageOutlet


def plain_call(
    node: Node[Any, Any], frame: Frame, name: str, slot: Slot, tap: Tap | None, timed: bool
) -> Callable[[Any], Awaitable[Any]] | None:
    """Return the plain function to await for an item; None if other settings apply."""
    if not node.has_exec:
        return _unchanged if tap is None else partial(_taken, tap, name, slot)
    return node.exec if node.exec_is_plain and frame.bare and not timed else None  # type: ignore[return-value]


def work_of(
    node: Node[Any, Any], frame: Frame, name: str, slot: Slot, tap: Tap | None, on_error: object
) -> Work:
    """Return the Work that runs one item after another."""
    work = node.run_items(frame)
    if tap is None:
        return work
    return work._replace(run=tap.items(name, work.run, on_error, slot.outlet is not None))


def outlet_of(
    outbox: Buffer[Any], slot: Slot, order: Order | None, name: str, tap: Tap | None
) -> StageOutlet:
    """Return the outlet for the values that items yield."""
    if tap is None:
        return StageOutlet(outbox, slot, order)
    return ReadOutlet(tap.put, name, outbox, slot, order)


async def _unchanged(item: Any) -> Any:
    return item


async def _taken(tap: Tap, name: str, slot: Slot, item: Any) -> Any:
    tap.put(Outcome(name, slot.index, "ok", item, item=item))
    return item
