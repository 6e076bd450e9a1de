"""PostgreSQL: each transaction on a pooled connection, whatever pooler is in between."""

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

# By the class of the SQLSTATE, or all of it; see the appendix "Error Codes" of PostgreSQL.
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

# psycopg's warnings are raised here as errors; they reach those who set up logging,
# and are not printed for others.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

CURSOR = "DECLARE kaygraph NO SCROLL CURSOR FOR "
PROBE = "SELECT 1"
NO_BLOCKS = "transaction blocks not allowed"  # PgBouncer, with pool_mode = statement


class _ForgottenError(DatabaseUnavailableError):
    """A prepared statement is missing."""


class Postgres:
    """A PostgreSQL database as a node's ``lifespan`` opens it; see Connected."""

    def __init__(self, database: Database, reads: bool) -> None:
        self._database = database
        self._psycopg = extra("psycopg", "postgres")
        options = _told_in_url(self._psycopg, database).get("options") or ""
        settings = {"IntervalStyle": STYLE}
        if "lock_timeout" not in options:  # settings in the url take precedence
            settings["lock_timeout"] = str(whole(database.lock_timeout * 1000))
        local = [f"SET LOCAL {name} = '{value}'" for name, value in settings.items()]
        self._begin = "; ".join(["BEGIN READ ONLY" if reads else "BEGIN", *local])
        calls = [f"set_config('{name}', '{value}', true)" for name, value in settings.items()]
        self._set = f"SELECT {', '.join(calls)}"  # the same without a BEGIN
        self._pool = Pool(database)
        self._silent: set[str] = set()  # statements that return nothing
        self._in_blocks = True  # transactions, from a BEGIN to a COMMIT

    @classmethod
    @asynccontextmanager
    async def opened(cls, database: Database, reads: bool) -> AsyncIterator["Postgres"]:
        """Open nothing yet: it connects when the first connection is needed, so that ``retry=``
        handles a server that is not up yet."""
        server = cls(database, reads)
        try:
            yield server
        finally:
            await server._pool.close()

    async def batches(
        self, statement: Statement, bound: Bound, batch: int
    ) -> AsyncGenerator[Sequence[Row | UnreadableRow], None]:
        with self._own_errors():
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
        """Repeat it if nothing was done because a prepared statement is missing: behind an
        unrecognised pooler, or after a function that drops all prepared statements."""
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
        """All at once, in a few round trips; one by one if one of them is refused."""
        if len(rows) == 1:
            return [await self._alone(statement, rows[0], together)]
        if statement.takes_as_they_are(rows):
            try:
                return await self._write_all(statement, rows, together)
            except DatabaseUnavailableError:
                raise
            except DatabaseError:
                pass  # some may be written nevertheless
        return await self._write_each(statement, rows, together)

    async def _write_all(
        self, statement: Statement, rows: Sequence[Any], together: Together | None
    ) -> Sequence[Written]:
        async with self._transaction() as connection:
            cursor = connection.cursor()
            # If nothing is returned, the driver keeps no result for each row.
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
                    with self._own_errors():
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
        """Write a row in its own transaction."""
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
        prepare = False if before else None  # if the driver considers it worthwhile
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
        """Commit the block; undo it if an error is raised in it."""
        async with in_time(self._database):
            with self._own_errors():
                async with AsyncExitStack() as held:
                    connection = await self._begun(held)
                    if connection is None:
                        connection = await held.enter_async_context(self._pipelined())
                        yield connection
                        return
                    try:
                        yield connection
                    except BaseException:
                        with suppress(self._psycopg.Error):  # it is broken, and about to be closed
                            await connection.execute("ROLLBACK", prepare=False)
                        raise
                    await connection.execute("COMMIT", prepare=False)

    async def _begun(self, held: AsyncExitStack) -> "AsyncConnection[Row] | None":
        """Return a connection with a transaction that has begun, or None if that is impossible."""
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
        """A transaction without a BEGIN: everything sent before the end of a pipeline is one."""
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
        """Return the rows of a statement, or None if it returns none."""
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
        """Return the rows of a received result, converted all at once; if that
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
            "reading rows needs: set pool_mode = transaction or session, connect to "
            "the server itself, or read up to max_rows rows with SQLExecute"
        )

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Raise the driver's errors as ours."""
        try:
            yield
        except self._psycopg.Error as error:
            raise _kind(self._psycopg, error)(f"{self._database}: {_primary(error)}") from error
        except UnicodeEncodeError as error:
            raise RowRefusedError(f"{self._database}: {error}") from error


def _told_in_url(psycopg: Any, database: Database) -> dict[str, Any]:
    """Return the settings that libpq reads in the url.

    Raises:
        ValueError: It cannot read it.
    """
    try:
        return psycopg.conninfo.conninfo_to_dict(database.url)  # type: ignore[no-any-return]
    except psycopg.Error:
        pass  # its message quotes the url, and may quote a password
    raise ValueError(
        f"libpq cannot read the url of {database}: write a literal % as %25, and check the names "
        "of its settings"
    )


def _kind(psycopg: Any, error: Any) -> type[DatabaseError]:
    state = error.sqlstate
    if state == "26000" and PREPARED in str(error):
        return _ForgottenError
    if state is not None:
        return _KINDS.get(state) or _KINDS.get(state[:2], DatabaseError)
    if isinstance(error, psycopg.OperationalError):
        return DatabaseUnavailableError
    # from the driver itself: the value has no form in PostgreSQL
    return RowRefusedError


def _primary(error: Any) -> str:
    """Return the message without its details, which may contain values of the row."""
    text = str(error.diag.message_primary or error).strip()
    if "unsupported startup parameter" in text:
        text += (
            ". The pooler takes no settings on connecting: remove options= from the "
            "url, and PGOPTIONS from the environment"
        )
    return text


async def _arrived(cursor: "AsyncCursor[Row]") -> None:
    """Wait for the result of a statement in a pipeline."""
    try:
        await cursor.scroll(0)
    except IndexError:
        pass  # it is empty
    except cursor.connection.ProgrammingError as error:
        if error.sqlstate is not None:
            raise
