"""Items that are taken and run several at a time, if no settings apply between them."""

from asyncio import CancelledError
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import islice
from math import inf
from operator import length_hint
from typing import Any

from ..aio.stopped import stopped_at
from ..executors.choice import in_chunks, in_threads, run_in_process, run_in_thread
from ..executors.chunk import Chunk, Entry, Ready
from ..limits.slots import Slot
from ..node.node import BaseNode
from ..run.frame import Frame
from .contention import Contention
from .source import END, PLAIN, SyncSource

GROWTH = 8  # at most this many times as many items as the last time

# For threads: a thread is woken for as many calls as take this long.
IN_THREAD_S, MOST_IN_THREAD = 0.001, 32

# For processes: a process is sent this much work.
IN_PROCESS_S, MOST_IN_PROCESS = 0.02, 4096


class Size:
    """How many items make a chunk: as many as take a given time together.

    Args:
        seconds: How long they should take.
        most: The maximum.
        workers: The workers that share what is left at the end; 1 if they take it from each other.
        fixed: A fixed number instead.
    """

    def __init__(
        self, seconds: float, most: int, workers: int = 1, fixed: int | None = None
    ) -> None:
        self.fixed = fixed
        self.now = 1 if fixed is None else fixed
        self._seconds, self._most, self._workers = seconds, most, workers
        self._each_s: float | None = None  # an average in which the latest weigh most

    def note(self, number: int, seconds: float) -> None:
        """Learn how long this many items took."""
        if self.fixed is not None:
            return
        each_s = seconds / number
        if self._each_s is not None:
            each_s = (self._each_s + each_s) / 2
        self._each_s = each_s
        fits = self._seconds / each_s if each_s else self._most
        self.now = max(1, min(int(fits), self.now * GROWTH, self._most))

    def of(self, left: int) -> int:
        """Return how many to take now if this many are left, including those that others have."""
        if self._workers == 1 or self.fixed is not None:
            return self.now
        share = -(-left // self._workers)
        return min(self.now, max(share, self.now // 10))


class Chunks:
    """Gives workers items whose ``exec`` was already called, chunk by chunk.

    A worker that finds no item ready takes a chunk and has it run; it holds its permits
    meanwhile, so that no more chunks run at once than items may.

    Args:
        node: The node whose items these are.
        frame: The place in the run.
        source: Where items come from.
        run: Runs a chunk.
        size: How many items make one.
        goes_on: Whether the items of a chunk after a failed one are run.
        shares: Whether a worker that finds no more items takes some of another's chunk.
        contention: Whether a chunk may run concurrently with others; None: any may.

    Attributes:
        kept: Receives the results of a chunk, and returns those that need more work.
        done: What has ended and was not requested yet.
        left: What was taken and has not started.
    """

    iterator = None  # a worker requests each item

    def __init__(
        self,
        node: Any,
        frame: Frame,
        source: SyncSource,
        run: Callable[[Chunk, Slot], Awaitable[None]],
        size: Size,
        goes_on: bool,
        shares: bool = False,
        contention: Contention | None = None,
    ) -> None:
        self._node, self._frame, self._source, self._run = node, frame, source, run
        self._contention = contention
        self._size, self._goes_on, self._shares = size, goes_on, shares
        self._running: list[Chunk] = []
        self.kept: Callable[[list[Ready]], Iterable[Ready]] | None = None
        self._taken = 0
        self.done: deque[Ready] = deque()
        self.left: deque[Entry] = deque()

    async def next(self, slot: Slot) -> Entry:
        """Return an item and its place, with the result of its ``exec`` in the slot; or ``END``."""
        contention = self._contention
        while not self.done:
            if contention is not None and not contention.has_room(len(self._running)):
                slot.give()
                await contention.room()
                continue
            if not slot.held:
                await slot.take()
                continue  # others may have ended by now
            entries = self._entries()
            if not entries:
                if contention is not None:
                    contention.close()  # nothing is left to wait for
                return 0, END
            chunk = Chunk(self._node, self._frame, entries, self._goes_on)
            self._running.append(chunk)
            try:
                await self._run(chunk, slot)
            except CancelledError as cancellation:
                name = self._frame.name_of(self._node)
                stopped_at(cancellation, f"{name!r}, item {chunk.at}")
                raise
            finally:
                self._running.remove(chunk)
                if contention is not None:
                    contention.ended()
                self.left.extendleft(reversed(chunk.entries))
                chunk.entries.clear()  # they must not be taken from there
                self.done += chunk.done if self.kept is None else self.kept(chunk.done)
            if chunk.done:
                self._size.note(len(chunk.done), chunk.seconds)
        slot.ready = ready = self.done.popleft()
        return ready.index, ready.item

    def _entries(self) -> deque[Entry]:
        """Take items: those that others left, or new ones, or some of another's chunk."""
        entries: deque[Any] = deque()
        if self._frame.drains:
            return entries
        source, size = self._source, self._size
        hint = length_hint(source.iterator)
        taken = sum(len(chunk.entries) for chunk in self._running)
        number = size.of(hint + len(self.left) + taken)
        while self.left and len(entries) < number:
            entries.append(self.left.popleft())
        if entries:
            return entries
        if (item := source.next(source.iterator, END)) is not END:
            entries.append(item)
            if size.fixed is None or hint:
                # Never up to its end: a list may grow before the next item is requested.
                entries.extend(islice(source.iterator, min(number, hint) - 1))
            else:
                while len(entries) < number and not self._frame.drains:
                    if (item := source.next(source.iterator, END)) is END:
                        break
                    entries.append(item)
            numbered = enumerate(entries, self._taken)
            self._taken += len(entries)
            return deque(numbered)
        if self._shares:
            for other in self._running:
                if other.entries:
                    try:
                        entries.append(other.entries.pop())
                    except IndexError:  # it has just started
                        continue
                    break
        return entries

    def close(self) -> None:
        """Drop what is no longer requested; an error holds references that lead here."""
        for ready in self.done:
            ready.error = None
        self.done.clear()
        self.left.clear()
        if self._contention is not None:
            self._contention.close()
        self.kept = None  # it knows this object: avoid a reference cycle


def chunks_of(node: Any, frame: Frame, workers: int, source: SyncSource) -> Chunks | None:
    """Return what takes items of a node in chunks, or None.

    By default only where it makes no visible difference: if no settings apply between two items,
    and if taking one runs no user code.
    """
    if not _asks_nothing(node, frame):
        return None
    is_plain = type(source.iterator) in PLAIN
    attempts = node.max_retries if node.retry is None else node.retry.attempts
    # A single worker retries an item before it takes the next.
    goes_on = workers > 1 if attempts > 1 else node.on_error != "raise"
    if is_plain and in_threads(node, frame):
        size = Size(IN_THREAD_S, MOST_IN_THREAD)
        contention = Contention() if node._one_at_first else None
        return Chunks(
            node, frame, source, run_in_thread, size, goes_on, shares=True, contention=contention
        )
    if (is_plain or node.chunksize != "auto") and in_chunks(node, frame):
        fixed, share_s = node.chunksize, inf
        if fixed == "auto":
            fixed, share_s = None, 2 * IN_PROCESS_S
        size = Size(IN_PROCESS_S, MOST_IN_PROCESS, workers, fixed)
        return Chunks(node, frame, source, partial(run_in_process, share_s), size, goes_on)
    return None


def _asks_nothing(node: Any, frame: Frame) -> bool:
    """Whether there is no rate, key, circuit, shared cap, deadline or event between two items."""
    return (
        node.rate is None
        and node.limit_by is None
        and node.breaker is None
        and node.deadline is None
        and node.cache is None
        and not node.keyed
        and getattr(node, "max_workers", 1) != "auto"
        and not frame.caps
        and not frame.run.observes_items
        and type(node).run_item is BaseNode.run_item
    )
