"""PostgreSQL: each transaction on one of a pool of connections, whatever pooler is in between."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..._extras import extra
from ._database import Database, Part, Together, Written, column_names, in_time, too_many
from ._interval import STYLE
from ._pool import PREPARED, Pool, whole
from ._statement import Bound, Statement
from ._unbindable import unbindable
from ._unreadable import Row, UnreadableRow, each_of_postgres
from .errors import (
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    RowRefusedError,
    StatementError,
)

if TYPE_CHECKING:
    from psycopg import AsyncConnection, AsyncCursor

T = TypeVar("T")

# By the class of the SQLSTATE, or the whole of it; see the appendix "Error Codes" of PostgreSQL.
_KINDS = {
    "08": DatabaseUnavailableError,  # connection
    "22": RowRefusedError,  # data
    "23": RowRefusedError,  # constraints
    "25P03": DatabaseUnavailableError,  # idle in a transaction for too long
    "25P04": DatabaseUnavailableError,  # or in it
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

# What psycopg warns of is raised here as an error; it reaches those who set up logging,
# and is not printed for those who did not.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

CURSOR = "DECLARE kaygraph NO SCROLL CURSOR FOR "
PROBE = "SELECT 1"
NO_BLOCKS = "transaction blocks not allowed"  # PgBouncer, with pool_mode = statement


class _ForgottenError(DatabaseUnavailableError):
    """A statement that was prepared is not there."""


class Postgres:
    """A PostgreSQL database as a node's ``lifespan`` opens it; see Connected."""

    def __init__(self, database: Database, reads: bool) -> None:
        self._database = database
        self._psycopg = extra("psycopg", "postgres")
        options = _told_in_url(self._psycopg, database).get("options") or ""
        settings = {"IntervalStyle": STYLE}
        if "lock_timeout" not in options:  # what the url says stands above
            settings["lock_timeout"] = str(whole(database.lock_timeout * 1000))
        local = [f"SET LOCAL {name} = '{value}'" for name, value in settings.items()]
        self._begin = "; ".join(["BEGIN READ ONLY" if reads else "BEGIN", *local])
        calls = [f"set_config('{name}', '{value}', true)" for name, value in settings.items()]
        self._set = f"SELECT {', '.join(calls)}"  # the same without a BEGIN
        self._pool = Pool(database)
        self._silent: set[str] = set()  # statements that give nothing back
        self._in_blocks = True  # transactions, from a BEGIN to a COMMIT

    @classmethod
    @asynccontextmanager
    async def opened(cls, database: Database, reads: bool) -> AsyncIterator["Postgres"]:
        """Open nothing yet: it connects when the first connection is needed, so that a server which
        is not there yet is the business of ``retry=``."""
        server = cls(database, reads)
        try:
            yield server
        finally:
            await server._pool.close()

    async def batches(
        self, statement: Statement, bound: Bound, batch: int
    ) -> AsyncGenerator[Sequence[Row | UnreadableRow], None]:
        with self._told():
            async with AsyncExitStack() as held:
                async with in_time(self._database):
                    connection = await self._begun(held)
                    if connection is None:
                        raise self._no_blocks()
                    await self._run(connection, statement, bound, CURSOR)
                    found = await self._fetched(connection, batch)
                while found:
                    yield found
                    async with in_time(self._database):
                        found = await self._fetched(connection, batch)
                async with in_time(self._database):
                    await connection.execute("COMMIT", prepare=False)

    async def execute(
        self,
        statements: Sequence[tuple[Statement, Bound]],
        max_rows: int,
        together: Together | None = None,
    ) -> list[Row] | int:
        return await self._known_to_server(partial(self._execute, statements, max_rows, together))

    async def write(
        self, statement: Statement, rows: Sequence[Any], together: Together | None = None
    ) -> Sequence[Written]:
        return await self._known_to_server(partial(self._write, statement, rows, together))

    async def has_part(self, part: Part) -> bool:
        async def has() -> bool:
            async with self._transaction() as connection:
                return bool(await part.in_postgres(connection, ()))

        try:
            return await self._known_to_server(has)
        except DatabaseUnavailableError:
            raise
        except DatabaseError:
            return False

    async def _known_to_server(self, transaction: Callable[[], Awaitable[T]]) -> T:
        """Do it again where nothing was done, because what was prepared is not there: behind a
        pooler that passes for the server, or after a function that forgets all that is prepared."""
        try:
            return await transaction()
        except _ForgottenError:
            await self._pool.prepare_no_more()
            return await transaction()

    async def _execute(
        self,
        statements: Sequence[tuple[Statement, Bound]],
        max_rows: int,
        together: Together | None,
    ) -> list[Row] | int:
        changed, rows = 0, None
        async with self._transaction() as connection:
            for statement, bound in statements:
                cursor = await self._run(connection, statement, bound)
                rows = await self._returned(cursor, max_rows)
                if rows is None:
                    changed += max(0, cursor.rowcount)
            result = changed if rows is None else rows
            if together is not None:
                await together.in_postgres(connection, [result])
        return result

    async def _write(
        self, statement: Statement, rows: Sequence[Any], together: Together | None
    ) -> Sequence[Written]:
        """All at once, in a few round trips; one by one when a row of them is refused."""
        if len(rows) == 1:
            return [await self._alone(statement, rows[0], together)]
        if statement.takes_as_they_are(rows):
            try:
                return await self._write_all(statement, rows, together)
            except DatabaseUnavailableError:
                raise
            except DatabaseError:
                pass  # some may be written all the same
        return await self._write_each(statement, rows, together)

    async def _write_all(
        self, statement: Statement, rows: Sequence[Any], together: Together | None
    ) -> Sequence[Written]:
        async with self._transaction() as connection:
            cursor = connection.cursor()
            # Where nothing comes back, the driver keeps no result for each row.
            returning = statement.text not in self._silent or not self._in_blocks
            await cursor.executemany(statement.text, rows, returning=returning)
            results: list[Written] = [None] * len(rows)
            if returning:
                results = [await self._returned(cursor)]
                while cursor.nextset():
                    results.append(await self._returned(cursor))
                if results.count(None) == len(results):
                    self._silent.add(statement.text)
            if together is not None:
                await together.in_postgres(connection, results)
            return results

    async def _write_each(
        self, statement: Statement, rows: Sequence[Any], together: Together | None
    ) -> Sequence[Written]:
        written: list[Written] = []
        if not self._in_blocks:
            for place, row in enumerate(rows):
                try:
                    part = None if together is None else together.alone(place)
                    written.append(await self._alone(statement, row, part))
                except DatabaseError as error:
                    written.append(error)
            return written
        async with self._transaction() as connection:
            for row in rows:
                try:
                    with self._told():
                        bound = statement.bound(row)
                        async with connection.transaction():  # a savepoint
                            cursor = await self._run(connection, statement, bound)
                            returned = await self._returned(cursor)
                    written.append(returned)
                except DatabaseUnavailableError:
                    raise
                except DatabaseError as error:
                    written.append(error)
            if together is not None:
                await together.in_postgres(connection, written)
        return written

    async def _alone(
        self, statement: Statement, row: Any, together: Together | None
    ) -> list[Row] | None:
        """Write a row in a transaction of its own."""
        bound = statement.bound(row)
        async with self._transaction() as connection:
            returned = await self._returned(await self._run(connection, statement, bound))
            if together is not None:
                await together.in_postgres(connection, [returned])
            return returned

    async def _run(
        self,
        connection: "AsyncConnection[Row]",
        statement: Statement,
        bound: Bound,
        before: str = "",
    ) -> "AsyncCursor[Row]":
        prepare = False if before else None  # where the driver thinks that it is worth it
        try:
            return await connection.execute(before + statement.text, bound, prepare=prepare)
        except (self._psycopg.Error, UnicodeEncodeError) as error:
            if getattr(error, "sqlstate", None) is not None or connection.closed:
                raise
            adapt = self._psycopg.adapt
            dumpers = adapt.Transformer(connection)

            def bind(value: Any) -> object:
                return dumpers.get_dumper(value, adapt.PyFormat.AUTO).dump(value)

            if wrong := unbindable(statement, bound, bind, "PostgreSQL"):
                raise RowRefusedError(f"{self._database}: {wrong}") from error
            raise

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator["AsyncConnection[Row]"]:
        """Commit what is done within; undo it where an error is raised there."""
        async with in_time(self._database):
            with self._told():
                async with AsyncExitStack() as held:
                    connection = await self._begun(held)
                    if connection is None:
                        connection = await held.enter_async_context(self._pipelined())
                        yield connection
                        return
                    try:
                        yield connection
                    except BaseException:
                        with suppress(self._psycopg.Error):  # it is broken, and closed soon
                            await connection.execute("ROLLBACK", prepare=False)
                        raise
                    await connection.execute("COMMIT", prepare=False)

    async def _begun(self, held: AsyncExitStack) -> "AsyncConnection[Row] | None":
        """Return a connection with a transaction that has begun, or None where none can be."""
        if self._in_blocks:
            try:
                return await held.enter_async_context(self._pool.connection(self._begin))
            except self._psycopg.errors.ProtocolViolation as error:
                if NO_BLOCKS not in str(error):
                    raise
                self._in_blocks = False
        return None

    @asynccontextmanager
    async def _pipelined(self) -> AsyncIterator["AsyncConnection[Row]"]:
        """A transaction without a BEGIN: all that is sent before the end of a pipeline is one."""
        async with self._pool.connection(PROBE) as connection, connection.pipeline():
            try:
                await connection.execute(self._set, prepare=False)
                yield connection
            except BaseException:
                await connection.close()  # the end of the pipeline would commit
                raise

    async def _fetched(
        self, connection: "AsyncConnection[Row]", batch: int
    ) -> Sequence[Row | UnreadableRow]:
        cursor = await connection.execute(f"FETCH FORWARD {batch} FROM kaygraph", prepare=False)
        return await self._rows(cursor)

    async def _returned(
        self, cursor: "AsyncCursor[Row]", max_rows: int | None = None
    ) -> list[Row] | None:
        """Return the rows that a statement gave, or None for one that gives none."""
        if cursor.connection.pgconn.pipeline_status:
            await _arrived(cursor)
        if cursor.description is None:
            return None
        if max_rows is not None and cursor.rowcount > max_rows:
            raise too_many(max_rows)
        rows: list[Row] = []
        for row in await self._rows(cursor):
            if isinstance(row, UnreadableRow):
                raise row.error()
            rows.append(row)
        return rows

    async def _rows(self, cursor: "AsyncCursor[Row]") -> Sequence[Row | UnreadableRow]:
        """Return the rows of a result that has arrived, which are converted all at once; where that
        fails, value by value."""
        column_names([column.name for column in cursor.description or ()])
        try:
            return await cursor.fetchall()
        except Exception:
            transformer = self._psycopg.adapt.Transformer(cursor)
            return list(each_of_postgres(str(self._database), cursor, transformer))

    def _no_blocks(self) -> DatabaseError:
        return DatabaseError(
            f"{self._database}: the pooler allows no transaction (pool_mode = statement), which "
            "rows are read in: ask for a pool with pool_mode = transaction or session, connect to "
            "the server itself, or read up to max_rows rows with SQLExecute"
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise what the driver raises as an error of ours."""
        try:
            yield
        except self._psycopg.Error as error:
            raise _kind(self._psycopg, error)(f"{self._database}: {_primary(error)}") from error
        except UnicodeEncodeError as error:
            raise RowRefusedError(f"{self._database}: {error}") from error


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
    if state == "26000" and PREPARED in str(error):
        return _ForgottenError
    if state is not None:
        return _KINDS.get(state) or _KINDS.get(state[:2], DatabaseError)
    if isinstance(error, psycopg.OperationalError):
        return DatabaseUnavailableError
    # It comes from the driver itself: it cannot say a value in PostgreSQL's terms.
    return RowRefusedError


def _primary(error: Any) -> str:
    """Return the message without its details, which may hold what is in the row."""
    said = str(error.diag.message_primary or error).strip()
    if "unsupported startup parameter" in said:
        said += (
            ". A pooler takes no settings when a connection is made: leave options= out of the "
            "url, and PGOPTIONS out of the environment"
        )
    return said


async def _arrived(cursor: "AsyncCursor[Row]") -> None:
    """Wait for the result of a statement in a pipeline."""
    try:
        await cursor.scroll(0)
    except IndexError:
        pass  # it is empty
    except cursor.connection.ProgrammingError as error:
        if error.sqlstate is not None:
            raise
