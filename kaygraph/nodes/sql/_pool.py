"""Connections to PostgreSQL, opened when needed and reused.

The other end may be the server, or a pooler such as PgBouncer, where each transaction may use
another connection to the server. So nothing is assumed for longer than a transaction, and each
transaction sets all of its settings itself.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ..._extras import extra
from ._database import Database
from ._interval import interval_loader
from ._unreadable import Row

if TYPE_CHECKING:
    from psycopg import AsyncConnection

PREPARED = "_pg3_"  # the prefix of psycopg's names of prepared statements
PREPARED_AFTER = 5  # executions of a statement: psycopg's default


class Pool:
    """The connections of a node in a run: as many as are in use at once, ``pool_size`` at most."""

    def __init__(self, database: Database) -> None:
        self._psycopg = extra("psycopg", "postgres")
        self._database = database
        self._free = asyncio.Semaphore(database.pool_size)
        self._idle: list[AsyncConnection[Row]] = []  # the most recently used one is last
        self._prepares = True  # only with the server itself

    @asynccontextmanager
    async def connection(self, begin: str) -> AsyncIterator["AsyncConnection[Row]"]:
        """A connection on which ``begin`` was executed.

        If it is left inside a transaction, it is closed, which ends the transaction on the server
        without an answer from there.
        """
        idle = self._psycopg.pq.TransactionStatus.IDLE
        async with self._free:
            connection = await self._begun(begin)
            try:
                yield connection
            finally:
                if connection.pgconn.transaction_status == idle:
                    self._idle.append(connection)
                else:
                    await connection.close()

    async def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            await self._idle.pop().close()

    async def prepare_no_more(self) -> None:
        """Prepare no statements, on any connection."""
        self._prepares = False
        await self.close()

    async def _begun(self, begin: str) -> "AsyncConnection[Row]":
        again = 0
        while True:
            used_before = bool(self._idle)
            connection = self._idle.pop() if used_before else await self._connected()
            try:
                await connection.execute(begin, prepare=False)
                return connection
            except BaseException as error:
                await connection.close()
                if not isinstance(error, self._psycopg.OperationalError):
                    raise
                if used_before:
                    # It had ended meanwhile, and nothing was begun. The others have been idle for
                    # longer: waiting for each of them is not worth it.
                    await self.close()
                    again = 2  # a pooler's own connection may have ended, too
                if not again:
                    raise
                again -= 1

    async def _connected(self) -> "AsyncConnection[Row]":
        connection: AsyncConnection[Row] = await self._psycopg.AsyncConnection.connect(
            self._database.url,
            autocommit=True,
            row_factory=self._psycopg.rows.dict_row,
            connect_timeout=whole(self._database.connect_timeout),
            prepare_threshold=None,
        )
        connection.adapters.register_loader("interval", interval_loader())
        try:
            if self._prepares and _names_are_unique(connection) and await _is_direct(connection):
                connection.prepare_threshold = PREPARED_AFTER
        except BaseException:
            await connection.close()
            raise
        return connection


async def _is_direct(connection: "AsyncConnection[Row]") -> bool:
    """Whether the other end is the server itself: the process serving the connection is the one
    reported when it was opened.

    A pooler reports one of its own, which identifies the target of a cancel request.
    """
    cursor = await connection.execute("SELECT pg_backend_pid() AS pid", prepare=False)
    return await cursor.fetchone() == {"pid": connection.info.backend_pid}


def _names_are_unique(connection: Any) -> bool:
    """Number the prepared statements of a connection from a number that no other one starts at, so
    that they are not confused behind an unrecognised pooler.

    psycopg numbers those of each connection from 0, in a private attribute: if that no longer
    exists, nothing is prepared.
    """
    names: Any = getattr(connection, "_prepared", None)
    if not hasattr(names, "_prepared_idx"):
        return False
    names._prepared_idx = secrets.randbits(63)
    return True


def whole(value: float) -> int:
    """Return a limit for PostgreSQL: a whole number, where 0 would be no limit."""
    return round(min(max(value, 1), 2**31 - 1))
