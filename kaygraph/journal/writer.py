"""The writer of a run's log: a thread that commits groups; or the loop, for a single entry."""

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

# After this time since the last group, the next one does not wait for the loop to turn: an
# ``async def exec`` that computes or blocks may keep it busy.
OVERDUE_S = 0.05

# How long commits on the loop may take on average, and how late they may be in total: then the
# thread takes over for a while. A slow disk would hold up the loop; a busy processor is not a
# reason to leave it.
COMMIT_S, LATE_S, APART_S = 0.001, 0.05, 1.0
FEW = 16  # the most entries that the loop commits


class Writer:
    """Commits entries in groups, in the order in which they were added.

    A group is what was added while the previous one was committed; it waits neither for a timer nor
    for a blocked loop. One thread makes all calls of the store, so that a cancelled call leaves no
    transaction open; the exception is ``commit_at_once``, while that thread is idle.

    Args:
        commit: Writes a group; called in the thread.
        failed: Called on the loop with the error of a failed commit. Nothing is written then, and
            nobody who waits for a commit is woken.
        at_once: Writes a group and returns True, or returns False if that could take a while;
            called on the loop. None: the thread does everything.
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
        # A loop may have its own threads: in a simulation, calls run at once, in the loop's thread.
        self._inline: Executor | None = getattr(self._loop, "threads", None)
        self._thread: Thread | None = None
        if self._inline is not None:
            self._at_once = None
        else:
            # Closing the journal waits for its end; an interpreter that exits in the middle of a
            # run does not.
            self._thread = Thread(target=self._serve, name="kaygraph-journal", daemon=True)
            self._thread.start()
        self._entries: list[Entry] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._busy = False  # something is pending, or being written
        self._sending = 0  # groups sent to the thread whose end the loop does not know yet
        self._calls = 0  # the same, for calls
        self._sent_at = 0.0
        self._idle = True  # set by the thread itself, before the loop knows
        self._failure: Exception | None = None  # the same
        self._broken = False
        self._apart_until = 0.0  # until then, the thread does all commits
        self._late = 0.0  # how many seconds those of the loop were late

    @property
    def backlog(self) -> int:
        """How many entries wait for earlier commits."""
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
        """Commit an entry and what has gathered before returning; return whether it was done.

        It is not done while the thread is writing, which comes first, nor if it could take a while:
        use ``add`` for the entry then.
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
        """Return what is not written yet, for the last call: nothing more is written."""
        self._broken = True
        entries, self._entries = self._entries, []
        return entries

    async def committed(self) -> None:
        """Wait until everything that was added is committed."""
        if not self._busy and not self._broken:
            return
        future = self._loop.create_future()
        self._waiting.append(future)
        self._send_next()
        await future

    async def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call something in the thread, after what is already queued there."""
        called = self._loop.create_future()

        def make() -> None:
            value, error = None, None
            try:
                value = work(*arguments)
            except BaseException as failure:
                error = failure
            self._call_back(self._called, called, value, error)

        self._calls += 1
        self._do(make)
        return await called  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the thread after what is queued there."""
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

    def _call_back(self, callback: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is waiting
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _send_next(self) -> None:
        """Have gathered entries written, unless a write is in progress."""
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
            if self._failure is None:  # otherwise the loop does not know about it yet
                try:
                    self._commit(entries)
                except Exception as failure:
                    self._failure = failure
            self._idle = True
            self._call_back(self._sent, waiting, self._failure)

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
