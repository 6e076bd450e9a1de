"""Items that are taken up and run several at a time, where nothing is asked between them."""

from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from operator import length_hint
from typing import Any

from ..executors.choice import in_threads, run_in_thread
from ..executors.chunk import Chunk, Entry, Ready
from ..limits.slots import Slot
from ..node.node import BaseNode
from ..run.frame import Frame
from .source import END, PLAIN, SyncSource

GROWTH = 4  # times as many items as the last time, at most

# Of calls in threads: a thread is woken for as many as take so long.
IN_THREAD_S, MOST_IN_THREAD = 0.001, 32


class Size:
    """How many items make a chunk: as many as take so long together.

    Args:
        seconds: How long the ``exec`` of all is to take.
        most: How many items there are at most.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self.now = 1
        self._seconds, self._most = seconds, most
        self._each_s: float | None = None  # an average, of which the latest have the largest part

    def note(self, done: list[Ready]) -> None:
        """Learn from what has ended."""
        each_s = sum(ready.seconds for ready in done) / len(done)
        if self._each_s is not None:
            each_s = (self._each_s + each_s) / 2
        self._each_s = each_s
        fits = self._seconds / each_s if each_s else self._most
        self.now = max(1, min(int(fits), self.now * GROWTH, self._most))


class Ahead:
    """Gives workers items whose ``exec`` has been called already, chunk by chunk.

    A worker that finds no item ready takes up a chunk and has it run; it holds its permits
    meanwhile, so that no more chunks run at once than items may.

    Args:
        node: The node whose items these are.
        frame: The place in the run.
        source: Where items come from.
        run: Runs a chunk.
        size: How many items make one.
        goes_on: Whether items of a chunk behind one that fails are run.
        shares: Whether a worker that finds no more items takes one of another's chunk.

    Attributes:
        done: What has ended and nobody has asked for yet.
        left: What was taken up and has not begun.
    """

    iterator = None  # a worker asks for each item

    def __init__(
        self,
        node: Any,
        frame: Frame,
        source: SyncSource,
        run: Callable[[Chunk, Slot], Awaitable[None]],
        size: Size,
        goes_on: bool,
        shares: bool,
    ) -> None:
        self._node, self._frame, self._source, self._run = node, frame, source, run
        self._size, self._goes_on, self._shares = size, goes_on, shares
        self._running: list[Chunk] = []
        self._taken = 0
        self.done: deque[Ready] = deque()
        self.left: deque[Entry] = deque()

    async def next(self, slot: Slot) -> Entry:
        """Return an item and its place, and in the slot what its ``exec`` came to; or ``END``."""
        while not self.done:
            if not slot.held:
                await slot.take()
                continue  # others may have ended meanwhile
            entries = self._entries()
            if not entries:
                return 0, END
            chunk = Chunk(self._node, self._frame, entries, self._goes_on)
            self._running.append(chunk)
            try:
                await self._run(chunk, slot)
            finally:
                self._running.remove(chunk)
                self.left.extendleft(reversed(chunk.entries))
                chunk.entries.clear()  # nobody is to take them from there
                self.done += chunk.done
            if chunk.done:
                self._size.note(chunk.done)
        slot.ready = ready = self.done.popleft()
        return ready.index, ready.item

    def _entries(self) -> deque[Entry]:
        """Take up items: those that others have left, or new ones, or one of another's chunk."""
        entries: deque[Entry] = deque()
        if self._frame.drains:
            return entries
        number = self._size.now
        while self.left and len(entries) < number:
            entries.append(self.left.popleft())
        if entries:
            return entries
        source = self._source
        item = source.next(source.iterator, END)
        if item is not END:
            entries.append((self._taken, item))
            # Never up to its end: a list may grow until somebody asks for the item after its last.
            more = min(number - 1, length_hint(source.iterator))
            entries.extend(enumerate(islice(source.iterator, more), self._taken + 1))
            self._taken += len(entries)
            return entries
        if self._shares:
            for other in self._running:
                if other.entries:
                    try:
                        entries.append(other.entries.pop())
                    except IndexError:  # it has just been begun
                        continue
                    break
        return entries

    def close(self) -> None:
        """Drop what nobody asks for any more; an error holds what leads here."""
        for ready in self.done:
            ready.error = None
        self.done.clear()
        self.left.clear()


def ahead_of(node: Any, frame: Frame, source: SyncSource) -> Ahead | None:
    """Return what takes up items of a node in chunks, where nobody can tell; else None.

    That is where nothing is asked between two items, and where taking one runs no code of a user.
    """
    if not _asks_nothing(node, frame) or type(source.iterator) not in PLAIN:
        return None
    attempts = node.max_retries if node.retry is None else node.retry.attempts
    goes_on = attempts > 1 or node.on_error != "raise"
    if in_threads(node, frame):
        size = Size(IN_THREAD_S, MOST_IN_THREAD)
        return Ahead(node, frame, source, run_in_thread, size, goes_on, shares=True)
    return None


def _asks_nothing(node: Any, frame: Frame) -> bool:
    """Whether there is no rate, key, circuit, shared cap, deadline or event between two items."""
    return (
        node.rate is None
        and node.limit_by is None
        and node.breaker is None
        and node.deadline is None
        and getattr(node, "max_workers", 1) != "auto"
        and not frame.caps
        and frame.run.emit is None
        and type(node).run_item is BaseNode.run_item
    )
