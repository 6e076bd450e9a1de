"""Group commit: rows that wait at the same moment are written in one transaction.

A commit that is safe waits for the disk, some milliseconds whatever its size. So a writer that
commits each row by itself writes some hundred rows a second, and one that commits those together
which have come meanwhile writes some ten thousand, and none is acknowledged before it is safe.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from ...aio.tasks import stop
from ._database import Written
from ._statement import Bound
from ._unreadable import Row
from .errors import DatabaseError, DatabaseUnavailableError

Commit = Callable[[Sequence[Bound]], Awaitable[Sequence[Written]]]

MOST = 1000  # rows in one transaction


class GroupCommit:
    """Writes rows in groups, one group after another, in the order in which they came.

    Args:
        commit: Writes rows in one transaction, see Connected.write.
    """

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._waiting: deque[tuple[Bound, asyncio.Future[list[Row] | None]]] = deque()
        self._more = asyncio.Event()

    @asynccontextmanager
    async def working(self) -> AsyncIterator["GroupCommit"]:
        """Write what comes, until this is left; what is in work then is rolled back."""
        task = asyncio.get_running_loop().create_task(self._work())
        try:
            yield self
        finally:
            await stop([task])

    async def write(self, row: Bound) -> list[Row] | None:
        """Return when the row is committed.

        Cancelled while it waits, it is not written. Cancelled later, it is written or not: the
        group that it is in goes on.
        """
        done: asyncio.Future[list[Row] | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        self._more.set()
        try:
            return await done
        except DatabaseError as error:  # one of its own for each row: notes are added to it
            raise type(error)(*error.args) from error.__cause__

    async def _work(self) -> None:
        while True:
            await self._more.wait()
            group: list[tuple[Bound, asyncio.Future[list[Row] | None]]] = []
            while self._waiting and len(group) < MOST:
                row, done = self._waiting.popleft()
                if not done.done():
                    group.append((row, done))
            if not self._waiting:
                self._more.clear()
            results = await self._written([row for row, _ in group]) if group else ()
            for (_, done), result in zip(group, results, strict=True):
                if done.done():
                    continue  # cancelled meanwhile
                if isinstance(result, Exception):
                    done.set_exception(result)
                else:
                    done.set_result(result)

    async def _written(self, rows: Sequence[Bound]) -> Sequence[Written | Exception]:
        try:
            return await self._commit(rows)
        except Exception as error:
            if len(rows) == 1 or isinstance(error, DatabaseUnavailableError):
                return [error] * len(rows)
            # Refused as a whole, by a check at the commit, say, or by what turns a value into one
            # of the database: the row that is to blame is found by halves, and the others written.
            half = len(rows) // 2
            return [*await self._written(rows[:half]), *await self._written(rows[half:])]
