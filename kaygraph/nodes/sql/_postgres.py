"""PostgreSQL: a pool of connections, opened as they are needed."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ...aio.tasks import outlast
from .._extras import extra
from ._database import Database, Row, Written, column_names, in_time, too_many
from ._statement import Bound, Statement
from .errors import (
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    RowRefusedError,
    StatementError,
)

if TYPE_CHECKING:
    from psycopg import AsyncConnection, AsyncCursor
    from psycopg_pool import AsyncConnectionPool

# By the class of the SQLSTATE, or the whole of it; see the appendix "Error Codes" of PostgreSQL.
_KINDS = {
    "08": DatabaseUnavailableError,  # connection
    "22": RowRefusedError,  # data
    "23": RowRefusedError,  # constraints
    "26": StatementError,
    "40": DatabaseLockedError,  # rolled back for a deadlock or a serialization failure
    "42": StatementError,  # syntax, unknown names
    "44": RowRefusedError,  # WITH CHECK OPTION
    "53": DatabaseUnavailableError,  # out of connections, memory, disk
    "55P03": DatabaseLockedError,
    "57": DatabaseUnavailableError,  # shutdown, cancelled
    "58": DatabaseUnavailableError,  # input and output
    "P0001": RowRefusedError,  # RAISE, in a trigger
}

# What psycopg and its pool warn of is raised here as an error; it reaches those who set up logging,
# and is not printed for those who did not.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

FOREVER_S = 1e7  # what the pool takes for no limit


class Postgres:
    """A PostgreSQL database as a node's ``lifespan`` opens it; see Connected."""

    def __init__(self, database: Database, reads: bool) -> None:
        self._database = database
        self._psycopg = extra("psycopg", "postgres")
        self._waiting: set[asyncio.Timeout] = set()  # for a connection
        self._connecting: set[asyncio.Timeout] = set()
        self._refusal: Exception | None = None  # why the last try to connect has failed
        self._pool = self._made(reads)

    @classmethod
    @asynccontextmanager
    async def opened(cls, database: Database, reads: bool) -> AsyncIterator["Postgres"]:
        """Open the pool. It connects when the first connection is needed, so that a server which
        is not there yet is the business of ``retry=``."""
        server = cls(database, reads)
        try:
            await server._pool.open()
            yield server
        finally:
            _end(server._connecting)  # the pool would wait for a server that does not answer
            await server._pool.close()

    def _made(self, reads: bool) -> "AsyncConnectionPool[AsyncConnection[Row]]":
        """Return the pool, which notes why it cannot connect: by itself it tells that to a log, and
        tries on while those who wait for a connection hear nothing."""
        database, psycopg = self._database, self._psycopg
        server = self

        class Connection(psycopg.AsyncConnection):  # type: ignore[misc, name-defined]
            @classmethod
            async def connect(cls, *args: Any, **kwargs: Any) -> Any:
                with suppress(TimeoutError):  # psycopg's own is another
                    async with _until_ended(server._connecting):
                        try:
                            return await super().connect(*args, **kwargs)
                        except Exception as error:
                            server._refusal = error
                            raise
                # Raised here it leads to no frame, where it would keep what was connecting open.
                raise psycopg.OperationalError("the pool was closed")

        async def refused(_: Any) -> None:
            _end(self._waiting)

        options = f"-c lock_timeout={_whole(database.lock_timeout * 1000)}"
        if reads:
            options += " -c default_transaction_read_only=on"
        pools = extra("psycopg_pool", "postgres").AsyncConnectionPool
        return pools(  # type: ignore[no-any-return]
            database.url,
            connection_class=Connection,
            kwargs={
                "autocommit": True,
                "row_factory": psycopg.rows.dict_row,
                "connect_timeout": _whole(database.connect_timeout),
                "options": f"{options} {_told_in_url(psycopg, database).get('options', '')}",
            },
            min_size=0,
            max_size=database.pool_size,
            open=False,
            check=pools.check_connection,
            timeout=database.timeout or FOREVER_S,
            reconnect_timeout=0.0,
            reconnect_failed=refused,
        )

    async def rows(
        self, statement: Statement, bound: Bound, batch: int
    ) -> AsyncGenerator[Row, None]:
        declare = f"DECLARE kaygraph NO SCROLL CURSOR FOR {statement.text}"
        with self._told():
            async with AsyncExitStack() as held:
                async with in_time(self._database):
                    connection = await held.enter_async_context(self._connection())
                    await connection.execute("BEGIN")
                    await connection.execute(declare, bound, prepare=False)
                    found = await _fetched(connection, batch)
                while found:
                    for row in found:
                        yield row
                    async with in_time(self._database):
                        found = await _fetched(connection, batch)
                async with in_time(self._database):
                    await connection.execute("COMMIT")

    async def execute(
        self, statements: Sequence[tuple[Statement, Bound]], max_rows: int
    ) -> list[Row] | int:
        changed, rows = 0, None
        async with self._transaction() as connection:
            for statement, bound in statements:
                cursor = await connection.execute(statement.text, bound)
                rows = None
                if cursor.description is not None:
                    _check_columns(cursor)
                    rows = await cursor.fetchmany(max_rows + 1)
                    if len(rows) > max_rows:
                        raise too_many(max_rows)
                else:
                    changed += max(0, cursor.rowcount)
        return changed if rows is None else rows

    async def write(self, statement: Statement, rows: Sequence[Bound]) -> Sequence[Written]:
        """All at once, in a few round trips; one by one when a row of them is refused."""
        try:
            async with self._transaction() as connection:
                cursor = connection.cursor()
                await cursor.executemany(statement.text, rows, returning=True)  # type: ignore[arg-type]
                results = [await _returned(cursor)]
                while cursor.nextset():
                    results.append(await _returned(cursor))
                return results
        except DatabaseUnavailableError:
            raise
        except DatabaseError:
            if len(rows) == 1:
                raise
        written: list[Written] = []
        async with self._transaction() as connection:
            for bound in rows:
                try:
                    with self._told():
                        async with connection.transaction():  # a savepoint
                            cursor = await connection.execute(statement.text, bound)
                            returned = await _returned(cursor)
                    written.append(returned)
                except DatabaseUnavailableError:
                    raise
                except DatabaseError as error:
                    written.append(error)
        return written

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator["AsyncConnection[Row]"]:
        async with in_time(self._database):
            with self._told():
                async with self._connection() as connection, connection.transaction():
                    yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator["AsyncConnection[Row]"]:
        """A connection for one transaction. One that is left in the middle of it is closed, which
        ends it on the server without a word from there."""
        try:
            async with _until_ended(self._waiting) as wait:
                connection = await self._pool.getconn()
        except TimeoutError:
            if not wait.expired():
                raise
            reason = str(self._refusal).strip()
            raise DatabaseUnavailableError(f"{self._database}: {reason}") from self._refusal
        try:
            yield connection
        finally:
            if connection.pgconn.transaction_status != self._psycopg.pq.TransactionStatus.IDLE:
                await connection.close()
            await _to_its_end(self._pool.putconn(connection))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise what the driver raises as an error of ours."""
        try:
            yield
        except self._psycopg.Error as error:
            raise _kind(self._psycopg, error)(f"{self._database}: {_primary(error)}") from error
        except UnicodeEncodeError as error:
            raise RowRefusedError(f"{self._database}: {error}") from error


@asynccontextmanager
async def _until_ended(waits: set[asyncio.Timeout]) -> AsyncIterator[asyncio.Timeout]:
    """Let what is waited for here raise a TimeoutError when the waits of this set are ended."""
    async with asyncio.timeout(None) as wait:
        waits.add(wait)
        try:
            yield wait
        finally:
            waits.discard(wait)


def _end(waits: set[asyncio.Timeout]) -> None:
    for wait in waits:
        if not wait.expired():
            wait.reschedule(0)


async def _to_its_end(giving_back: Coroutine[Any, Any, None]) -> None:
    """Let this be done, cancelled or not: the pool would miss a connection for ever."""
    task = asyncio.get_running_loop().create_task(giving_back)
    await outlast([task])
    task.result()


def _whole(value: float) -> int:
    """Return a limit as PostgreSQL takes it: a whole number, where 0 would be no limit."""
    return round(min(max(value, 1), 2**31 - 1))


def _told_in_url(psycopg: Any, database: Database) -> dict[str, Any]:
    """Return what libpq reads in the url.

    Raises:
        ValueError: It cannot read it.
    """
    try:
        return psycopg.conninfo.conninfo_to_dict(database.url)  # type: ignore[no-any-return]
    except psycopg.Error:
        pass  # what it says quotes the url, and may quote a password
    raise ValueError(
        f"libpq cannot read the url of {database}: does a % in it stand for itself (write %25), or "
        "is there a setting that it does not know?"
    )


def _kind(psycopg: Any, error: Any) -> type[DatabaseError]:
    state = error.sqlstate
    if state is not None:
        return _KINDS.get(state) or _KINDS.get(state[:2], DatabaseError)
    if isinstance(error, psycopg.OperationalError):
        return DatabaseUnavailableError
    # It comes from the driver itself: it cannot say a value in PostgreSQL's terms.
    return RowRefusedError


def _primary(error: Any) -> str:
    """Return the message without its details, which may hold what is in the row."""
    return str(error.diag.message_primary or error).strip()


def _check_columns(cursor: "AsyncCursor[Any]") -> None:
    column_names([column.name for column in cursor.description or ()])


async def _fetched(connection: "AsyncConnection[Row]", batch: int) -> list[Row]:
    cursor = await connection.execute(f"FETCH FORWARD {batch} FROM kaygraph", prepare=False)
    _check_columns(cursor)
    return await cursor.fetchall()


async def _returned(cursor: "AsyncCursor[Row]") -> list[Row] | None:
    if cursor.description is None:
        return None
    _check_columns(cursor)
    return await cursor.fetchall()
