"""The one thread that writes a run's log: while it commits a group, the next one gathers."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar

from .log import Entry

T = TypeVar("T")

Commit = Callable[[list[Entry]], None]


class Writer:
    """Commits entries in groups, in the order in which they were added.

    A group is what was added while the one before was committed; no timer is waited for. All calls
    of the store are made in one thread, so that a cancelled one leaves no transaction open.

    Args:
        commit: Writes a group; called in the thread.
        failed: Called on the loop with what a commit has failed with. Nothing is written then, and
            nobody is woken who waits for a commit.
    """

    def __init__(self, commit: Commit, failed: Callable[[Exception], None]) -> None:
        self._commit, self._failed = commit, failed
        self._loop = asyncio.get_running_loop()
        # A loop may bring its own threads: in a simulation calls run at once, in the loop's.
        given: Executor | None = getattr(self._loop, "threads", None)
        self._threads = given or ThreadPoolExecutor(1, "kaygraph-journal")
        self._own = given is None
        self._entries: list[Entry] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._busy = False
        self._broken = False

    @property
    def backlog(self) -> int:
        """How many entries wait for the commit of those before."""
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Have an entry committed."""
        self._entries.append(entry)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._send)

    async def committed(self) -> None:
        """Wait until all that was added is committed."""
        if not self._busy and not self._broken:
            return
        future = self._loop.create_future()
        self._waiting.append(future)
        await future

    async def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call something in the thread, behind what is there to do."""
        return await asyncio.wrap_future(self._threads.submit(work, *arguments))

    def close(self) -> None:
        """End the thread, when what it does has ended."""
        if self._own:
            self._threads.shutdown(wait=False)

    def _send(self) -> None:
        if self._broken:
            return
        entries, self._entries = self._entries, []
        waiting, self._waiting = self._waiting, []
        group = self._threads.submit(self._commit, entries)
        group.add_done_callback(
            lambda group: self._loop.call_soon_threadsafe(self._sent, waiting, group.exception())
        )

    def _sent(self, waiting: "list[asyncio.Future[None]]", error: BaseException | None) -> None:
        if error is not None:
            self._broken = True
            self._waiting = [*waiting, *self._waiting]
            self._failed(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            return
        for future in waiting:
            if not future.done():
                future.set_result(None)
        if self._entries or self._waiting:
            self._send()
        else:
            self._busy = False
