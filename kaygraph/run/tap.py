"""Receives the results of one node while a run goes on; other nodes are not affected."""

from collections.abc import Callable, Collection
from typing import Any

from ..limits.slots import Slot
from ..outcome import Outcome, status_of
from .recorder import RunItem


class Tap:
    """Receives the outcomes of the items of a node.

    Args:
        names: The names of the node; the same node may occur in several places.
        put: Called with an outcome for each item that has ended, unless it was cancelled.
    """

    def __init__(self, names: Collection[str], put: Callable[[Outcome[Any]], None]) -> None:
        self.names, self.put = names, put

    def items(self, name: str, run: RunItem, on_error: object, yields: bool = False) -> RunItem:
        """Return what runs items and receives their outcomes; ``yields``: only failures."""
        put = self.put

        async def taken(item: Any, index: Any, slot: Slot) -> Any:
            try:
                value = await run(item, index, slot)
            except Exception as error:
                status = status_of(error, on_error)
                put(Outcome(name, index, status, None, error, slot.attempts, slot.seconds, item))
                raise
            if not yields:
                put(Outcome(name, index, "ok", value, None, slot.attempts, slot.seconds, item))
            return value

        return taken
