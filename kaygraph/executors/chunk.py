"""Several items that are handed over in one step, and what came of each."""

import os
from collections import deque
from contextvars import copy_context
from time import monotonic
from typing import Any

from ..aio.lanes import Ended
from ..errors import Drop
from ..limits.slots import Slot
from ..run.frame import Frame
from ..run.joining import BEGUN
from .elsewhere import run_to_end

# Whether worker processes get chunks: everywhere but on Windows, where no pipe says what is in it.
IN_PROCESSES = hasattr(os, "killpg")

Entry = tuple[int, Any]  # an item's place in its batch, and the item


class Ready(Ended):
    """What the first attempt of an item came to, before its worker asks for it."""

    __slots__ = ("index", "item", "seconds")

    def __init__(self, index: int, item: Any) -> None:
        super().__init__()
        self.index, self.item = index, item
        self.seconds = 0.0  # that exec took

    @property
    def has_failed(self) -> bool:
        return self.error is not None and not isinstance(self.error, Drop)


class Chunk:
    """Items that are taken up together.

    The worker that runs it takes items from the left, one at a time. Another worker may take items
    from the right meanwhile. Items that are left at the end have not begun.

    Args:
        node: The node whose ``exec`` runs.
        frame: The place in the run.
        entries: The items.
        goes_on: Whether those behind one that fails are run.

    Attributes:
        at: The place of the item that is worked on, or comes next.
        done: What has ended, in the order in which it did.
        seconds: How long that took in all.
    """

    __slots__ = ("at", "done", "entries", "frame", "goes_on", "node", "seconds")

    def __init__(self, node: Any, frame: Frame, entries: deque[Entry], goes_on: bool) -> None:
        self.node, self.frame, self.entries, self.goes_on = node, frame, entries, goes_on
        self.at = entries[0][0]
        self.done: list[Ready] = []
        self.seconds = 0.0

    def ended(self, value: Any, error: BaseException | None, seconds: float) -> None:
        """Note what the first item has come to."""
        ready = Ready(*self.entries.popleft())
        ready.value, ready.error, ready.seconds = value, error, seconds
        self.done.append(ready)
        if self.entries:
            self.at = self.entries[0][0]

    def blame(self, error: BaseException) -> None:
        """Make an error that of the first item, if there is one."""
        if self.entries:
            self.ended(None, error, 0.0)

    def run(self, slot: Slot) -> None:
        """Run the items in this thread, until the call of this is cancelled or the run drains."""
        begun, frame = BEGUN.get(), self.frame
        while not (begun.cancelled or frame.drains):
            try:
                self.at, item = self.entries.popleft()
            except IndexError:
                return
            slot.index = self.at
            ready = _ended(self.node, slot.index, item)
            self.done.append(ready)
            self.seconds += ready.seconds
            if ready.has_failed and not self.goes_on:
                return


def _ended(node: Any, index: int, item: Any) -> Ready:
    ready, began = Ready(index, item), monotonic()
    try:
        ready.value = copy_context().run(run_to_end, node, item)
    except BaseException as error:
        ready.error = error
    ready.seconds = monotonic() - began
    return ready
