"""Group commit: rows that wait at the same moment are written in one transaction.

A durable commit waits for the disk, some milliseconds whatever its size. So a writer that commits
each row by itself writes some hundred rows a second; one that commits all that have gathered
meanwhile writes some ten thousand, and none is acknowledged before it is durable.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain, islice
from typing import Any

from ...aio.tasks import stop
from ...errors import JournalError
from ._database import Written
from ._unreadable import Row
from .errors import DatabaseError, DatabaseUnavailableError

Commit = Callable[[Sequence[Any]], Awaitable[Sequence[Written]]]
Result = Written | Exception

MOST = 1000  # rows in one transaction


class GroupCommit:
    """Writes rows in groups, one group after another, in the order of their arrival.

    Args:
        commit: Writes rows in one transaction, see Connected.write.
    """

    def __init__(self, commit: Commit) -> None:
        self.commit = commit
        self._waiting: deque[tuple[Sequence[Any], asyncio.Future[Sequence[Result]]]] = deque()
        self._more = asyncio.Event()

    @asynccontextmanager
    async def working(self) -> AsyncIterator["GroupCommit"]:
        """Write what arrives until the block is left, which rolls back what is in progress."""
        task = asyncio.get_running_loop().create_task(self._work())
        try:
            yield self
        finally:
            await stop([task])

    async def write(self, rows: Sequence[Any]) -> Sequence[Result]:
        """Return the results of some rows, which are written in one group.

        Cancelled while they wait, they are not written. Cancelled later, they may be written:
        their group continues.
        """
        done: asyncio.Future[Sequence[Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, done))
        self._more.set()
        return await done

    async def _work(self) -> None:
        while True:
            await self._more.wait()
            group = list(self._next_group())
            if not self._waiting:
                self._more.clear()
            every = list(chain.from_iterable(rows for rows, _ in group))
            results = iter(await self._written(every) if every else ())
            for rows, done in group:
                theirs = list(islice(results, len(rows)))
                if not done.done():  # not cancelled meanwhile
                    done.set_result(theirs)

    def _next_group(self) -> Iterator[tuple[Sequence[Any], asyncio.Future[Sequence[Result]]]]:
        """Yield those that were not cancelled; one alone may exceed the size of a group."""
        room = MOST
        while self._waiting and (room == MOST or room >= len(self._waiting[0][0])):
            rows, done = self._waiting.popleft()
            if not done.done():
                room -= len(rows)
                yield rows, done

    async def _written(self, rows: Sequence[Any]) -> Sequence[Result]:
        try:
            return await self.commit(rows)
        except Exception as error:
            if len(rows) == 1 or isinstance(error, DatabaseUnavailableError | JournalError):
                return [error] * len(rows)
            # Refused as a whole, for example by a check at the commit, or by the conversion of a
            # value: bisection finds the bad row, and the others are written.
            half = len(rows) // 2
            return [*await self._written(rows[:half]), *await self._written(rows[half:])]


def given_back(result: Result) -> list[Row] | None:
    """Return what a statement returned for a row, or raise why it was not written."""
    if not isinstance(result, Exception):
        return result
    if isinstance(result, DatabaseError):  # a separate one for each row: notes are added to it
        raise type(result)(*result.args) from result.__cause__
    raise result
