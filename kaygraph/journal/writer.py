"""What writes a run's log: a thread, in groups; or the loop, where an entry is all there is."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, TypeVar

from .log import Entry

T = TypeVar("T")

Commit = Callable[[list[Entry]], None]
CommitAtOnce = Callable[[list[Entry]], bool]

# So long after the last group was sent, the next one does not wait for the loop to turn: it may be
# kept busy by an ``async def exec`` that computes, or blocks, and never suspends.
OVERDUE_S = 0.05

# What a commit on the loop may take on average, and by how much all may be late: then the thread
# has them for a while. A slow disk holds up the loop by so much a second, a busy processor is no
# reason to leave it.
COMMIT_S, LATE_S, APART_S = 0.001, 0.05, 1.0
FEW = 16  # entries that the loop commits, at most


class Writer:
    """Commits entries in groups, in the order in which they were added.

    A group is what was added while the one before was committed; no timer is waited for, nor is the
    loop where it does not turn. All calls of the store are made in one thread, so that a cancelled
    one leaves no transaction open; but for ``commit_at_once``, while that thread has nothing to do.

    Args:
        commit: Writes a group; called in the thread.
        failed: Called on the loop with what a commit has failed with. Nothing is written then, and
            nobody is woken who waits for a commit.
        at_once: Writes a group and returns True, or returns False where that could take a while;
            called on the loop. None: all is left to the thread.
    """

    def __init__(
        self,
        commit: Commit,
        failed: Callable[[Exception], None],
        at_once: CommitAtOnce | None = None,
    ) -> None:
        self._commit, self._failed, self._at_once = commit, failed, at_once
        self._loop = asyncio.get_running_loop()
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A loop may bring its own threads: in a simulation calls run at once, in the loop's.
        self._inline: Executor | None = getattr(self._loop, "threads", None)
        self._thread: Thread | None = None
        if self._inline is not None:
            self._at_once = None
        else:
            # Its end is waited for by whoever closes the journal, and not by an interpreter that
            # ends in the middle of a run.
            self._thread = Thread(target=self._serve, name="kaygraph-journal", daemon=True)
            self._thread.start()
        self._entries: list[Entry] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._busy = False  # something is to be written, or is written
        self._sending = 0  # groups that were sent, and of which the loop has not heard since
        self._calls = 0  # the same, of calls
        self._sent_at = 0.0
        self._idle = True  # told by the thread itself, before the loop hears of it
        self._failure: Exception | None = None  # the same
        self._broken = False
        self._apart_until = 0.0  # the thread has all commits
        self._late = 0.0  # by how many seconds those of the loop were

    @property
    def backlog(self) -> int:
        """How many entries wait for the commit of those before."""
        return len(self._entries)

    @property
    def is_busy(self) -> bool:
        """Whether anything waits for its commit."""
        return self._busy

    def add(self, entry: Entry) -> None:
        """Have an entry committed."""
        self._entries.append(entry)
        if not self._busy:
            self._busy = True
            self._sent_at = self._loop.time()
            self._loop.call_soon(self._send_next)
        elif self._idle and self._loop.time() - self._sent_at > OVERDUE_S:
            self._send()

    def commit_at_once(self, entry: Entry) -> bool:
        """Commit an entry, and those that gather, before this returns; return whether it was done.

        It is not while the thread writes, which comes first, nor where it could take a while: the
        entry is to be added then.
        """
        at_once, gathered = self._at_once, self._entries
        if at_once is None or self._sending or self._calls or self._broken:
            return False
        if len(gathered) >= FEW or (began := monotonic()) < self._apart_until:
            return False
        try:
            if not at_once([*gathered, entry] if gathered else [entry]):
                return False
        except Exception as failure:
            self._broken = True
            self._failed(failure)
            return False
        if gathered:
            self._entries, self._busy = [], False
        ended = monotonic()
        self._late = max(0.0, self._late + ended - began - COMMIT_S)
        if self._late > LATE_S:
            self._late, self._apart_until = 0.0, ended + APART_S
        return True

    def take_rest(self) -> list[Entry]:
        """Return what is not written yet, for the last call of all: nothing more is written."""
        self._broken = True
        entries, self._entries = self._entries, []
        return entries

    async def committed(self) -> None:
        """Wait until all that was added is committed."""
        if not self._busy and not self._broken:
            return
        future = self._loop.create_future()
        self._waiting.append(future)
        self._send_next()
        await future

    async def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call something in the thread, behind what is there to do."""
        called = self._loop.create_future()

        def make() -> None:
            value, error = None, None
            try:
                value = work(*arguments)
            except BaseException as failure:
                error = failure
            self._tell(self._called, called, value, error)

        self._calls += 1
        self._do(make)
        return await called  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the thread, when all that is there to do is done."""
        self._work.put(None)

    def join(self) -> None:
        """Wait for the end of a thread that has nothing left to do."""
        if self._thread is not None:
            self._thread.join()

    def _do(self, work: Callable[[], None]) -> None:
        if self._inline is None:
            self._work.put(work)
        else:
            self._inline.submit(work)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _send_next(self) -> None:
        """Have what has gathered written, unless something is."""
        if not self._sending and (self._entries or self._waiting):
            self._send()

    def _send(self) -> None:
        if self._broken:
            return
        self._sending += 1
        self._sent_at = self._loop.time()
        self._idle = False
        entries, self._entries = self._entries, []
        waiting, self._waiting = self._waiting, []

        def write() -> None:
            if self._failure is None:  # else the loop has not heard of it yet
                try:
                    self._commit(entries)
                except Exception as failure:
                    self._failure = failure
            self._idle = True
            self._tell(self._sent, waiting, self._failure)

        self._do(write)

    def _sent(self, waiting: "list[asyncio.Future[None]]", error: Exception | None) -> None:
        self._sending -= 1
        if error is not None:
            self._waiting = [*waiting, *self._waiting]
            if not self._broken:
                self._broken = True
                self._failed(error)
            return
        for future in waiting:
            if not future.done():
                future.set_result(None)
        if self._entries or self._waiting:
            self._send_next()
        elif not self._sending:
            self._busy = False

    def _called(
        self, called: "asyncio.Future[Any]", value: Any, error: BaseException | None
    ) -> None:
        self._calls -= 1
        if called.done():  # its caller was cancelled
            return
        if error is None:
            called.set_result(value)
        else:
            called.set_exception(error)
