"""SQLite: one connection in its own thread, where every job is a whole transaction."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ...aio.lanes import Lanes
from ._database import Database, Part, Together, Written, column_names, in_time, too_many
from ._pragmas import only_asks
from ._statement import Bound, Statement
from ._unbindable import unbindable
from ._unreadable import Row, UnreadableRow, of_sqlite
from ._write_ahead_log import WriteAheadLog
from .errors import (
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    RowRefusedError,
    StatementError,
)

T = TypeVar("T")

PAUSE_S = 0.01  # between two attempts to get a lock
UNDECODABLE = object()  # takes the place of a text
STEPS = 10_000  # of SQLite's machine, between two checks whether the job is still wanted

_KINDS = {
    sqlite3.SQLITE_AUTH: StatementError,
    sqlite3.SQLITE_BUSY: DatabaseLockedError,
    sqlite3.SQLITE_LOCKED: DatabaseLockedError,
    sqlite3.SQLITE_CANTOPEN: DatabaseUnavailableError,
    sqlite3.SQLITE_IOERR: DatabaseUnavailableError,
    sqlite3.SQLITE_FULL: DatabaseUnavailableError,
    sqlite3.SQLITE_INTERRUPT: DatabaseUnavailableError,
    sqlite3.SQLITE_CONSTRAINT: RowRefusedError,
    sqlite3.SQLITE_MISMATCH: RowRefusedError,
    sqlite3.SQLITE_TOOBIG: RowRefusedError,
    sqlite3.SQLITE_ERROR: StatementError,
}


class _RefusedError(Exception):
    """The rows cannot be written all at once."""


# The driver's errors about a row.
_UNDONE = (sqlite3.Error, OverflowError, UnicodeEncodeError, RowRefusedError)


class _GivenUpError(Exception):
    """The caller has given up on this job."""


class SQLite:
    """A SQLite file as a node's ``lifespan`` opens it; see Connected.

    A writing connection creates a missing file, and turns on foreign keys and WAL, so that readers
    and the writer do not wait for each other. A reading one cannot write.
    """

    def __init__(self, database: Database, reads: bool) -> None:
        self._database, self._reads = database, reads
        self._thread = Lanes(1, "kaygraph-sqlite")
        self._job: threading.Event | None = None
        self._connection: sqlite3.Connection | None = None
        self._log: WriteAheadLog | None = None
        self._undecodable = False  # whether there was one

    @classmethod
    @asynccontextmanager
    async def opened(cls, database: Database, reads: bool) -> AsyncIterator["SQLite"]:
        file = cls(database, reads)
        try:
            await file._do(file._connect)
            yield file
        finally:
            try:
                await file._closed(file._close)
            finally:
                file._thread.shutdown()

    async def batches(
        self, statement: Statement, bound: Bound, batch: int
    ) -> AsyncGenerator[Sequence[Row | UnreadableRow], None]:
        cursor = self._open().cursor()

        def first() -> list[Row | UnreadableRow]:
            self._execute(cursor, statement, bound)
            return more()

        def more() -> list[Row | UnreadableRow]:
            return self._rows(_columns(cursor), self._fetched(cursor, batch))

        try:
            rows = await self._do(first)
            while rows:
                yield rows
                rows = await self._do(more)
        finally:  # ends the reader's transaction, so that the WAL can be checkpointed
            await self._closed(cursor.close)

    async def execute(
        self,
        statements: Sequence[tuple[Statement, Bound]],
        max_rows: int,
        together: Together | None = None,
    ) -> list[Row] | int:
        def job() -> list[Row] | int:
            changed, rows = 0, None
            with self._transaction():
                for statement, bound in statements:
                    cursor = self._run(statement, bound)
                    rows = self._returned(cursor, max_rows)
                    changed += max(0, cursor.rowcount)
                result = changed if rows is None else rows
                if together is not None:
                    together.in_sqlite(self._open(), [result])
            return result

        return await self._do(job)

    async def write(
        self, statement: Statement, rows: Sequence[Any], together: Together | None = None
    ) -> list[Written]:
        def job() -> list[Written]:
            at_once = len(rows) > 1 and statement.takes_as_they_are(rows)
            if at_once and self._write_all(statement, rows, together):
                return [None] * len(rows)
            return self._write_each(statement, rows, together)

        return await self._do(job)

    async def has_part(self, part: Part) -> bool:
        def job() -> bool:
            with self._transaction():
                return bool(part.in_sqlite(self._open(), ()))

        try:
            return await self._do(job)
        except DatabaseUnavailableError:
            raise
        except DatabaseError:
            return False

    def _write_all(
        self, statement: Statement, rows: Sequence[Any], together: Together | None
    ) -> bool:
        """Write all rows at once; if that is impossible, write none and return False.

        That is the case if one of them is refused, or if the statement returns something.
        """
        try:
            with self._transaction():
                try:
                    first = self._run(statement, rows[0])
                    if first.description is not None:
                        raise _RefusedError
                    self._open().executemany(statement.text, islice(rows, 1, None))
                except _UNDONE as error:  # but not the commit's: it may have been done
                    raise _RefusedError from error
                if together is not None:
                    together.in_sqlite(self._open(), [None] * len(rows))
        except _RefusedError:
            return False
        return True

    def _write_each(
        self, statement: Statement, rows: Sequence[Any], together: Together | None
    ) -> list[Written]:
        """Write one row after another, and return the results."""
        written: list[Written] = []
        with self._transaction():
            for row in rows:
                try:
                    with self._own_errors():
                        cursor = self._run(statement, statement.bound(row))
                except DatabaseUnavailableError:
                    raise
                except DatabaseError as error:
                    # Only the statement was undone, unless it asks for more (a trigger that
                    # raises ROLLBACK).
                    if not self._open().in_transaction:
                        raise
                    written.append(error)
                else:
                    written.append(self._returned(cursor))
            if together is not None:
                together.in_sqlite(self._open(), written)
        return written

    def _fetched(self, cursor: sqlite3.Cursor, batch: int) -> list[tuple[object, ...]]:
        """Fetch rows. A text that is not UTF-8 ends that; then it continues with the same row."""
        found: list[tuple[object, ...]] = []
        connection = self._open()
        try:
            found.extend(islice(cursor, batch))  # what was fetched before an error is kept
        except sqlite3.OperationalError as error:
            is_drivers = getattr(error, "sqlite_errorcode", None) is None
            if not is_drivers or connection.text_factory is not str:
                raise
            connection.text_factory = self._text
            found.extend(islice(cursor, batch - len(found)))
        return found

    def _returned(self, cursor: sqlite3.Cursor, max_rows: int | None = None) -> list[Row] | None:
        """Return the rows of a statement, or None if it returns none."""
        if cursor.description is None:
            return None
        names = _columns(cursor)
        found = cursor.fetchall() if max_rows is None else cursor.fetchmany(max_rows + 1)
        if max_rows is not None and len(found) > max_rows:
            raise too_many(max_rows)
        rows: list[Row] = []
        for row in self._rows(names, found):
            if isinstance(row, UnreadableRow):
                raise row.error()
            rows.append(row)
        return rows

    def _rows(
        self, names: Sequence[str], found: list[tuple[object, ...]]
    ) -> list[Row | UnreadableRow]:
        if not self._undecodable:  # each has as many values as there are names; checking costs half
            return [dict(zip(names, values)) for values in found]  # noqa: B905
        rows: list[Row | UnreadableRow] = []
        for values in found:
            if UNDECODABLE in values:
                wrong = [n for n, value in zip(names, values, strict=True) if value is UNDECODABLE]
                rows.append(of_sqlite(str(self._database), wrong))
            else:
                rows.append(dict(zip(names, values, strict=True)))
        return rows

    def _text(self, data: bytes) -> object:
        """Decode a text. An error here would end the query, not just the row."""
        try:
            return data.decode()
        except UnicodeDecodeError:
            self._undecodable = True
            return UNDECODABLE

    def _run(self, statement: Statement, bound: Bound) -> sqlite3.Cursor:
        if self._given_up():
            raise _GivenUpError
        return self._execute(self._open(), statement, bound)

    def _execute(
        self, on: sqlite3.Connection | sqlite3.Cursor, statement: Statement, bound: Bound
    ) -> sqlite3.Cursor:
        try:
            return on.execute(statement.text, bound or ())
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            if getattr(error, "sqlite_errorcode", None) is not None:
                raise
            probe = self._open().cursor()
            wrong = unbindable(
                statement, bound, lambda value: probe.execute("SELECT ?", (value,)), "SQLite"
            )
            raise RowRefusedError(f"{self._database}: {wrong or error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._check()
            yield
            if self._given_up():
                raise _GivenUpError
            connection.execute("COMMIT")
            self._check()
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _check(self) -> None:
        if self._log is not None:
            self._log.check()

    # --- the thread --------------------------------------------------------------------------

    async def _do(self, job: Callable[[], T]) -> T:
        """Do a job in the thread, within the database's ``timeout``.

        When cancelled, the job is interrupted and rolled back before the cancellation is raised.
        """
        given_up = threading.Event()
        async with in_time(self._database):
            call = self._thread.begin(self._patiently, job, given_up)
            try:
                await call.answered
            except asyncio.CancelledError:
                await self._thread.take_back(call, given_up.set)
                if not call.ended or call.error is not None:
                    raise
            # A commit at the last moment is reported, unless it was a cancellation.
            done: T = call.result()
            return done

    async def _closed(self, close: Callable[[], object]) -> None:
        """Close something in the thread, whatever has been given up."""
        call = self._thread.begin(close)
        await call.answered
        call.result()

    def _given_up(self) -> bool:
        return self._job is not None and self._job.is_set()

    def _patiently(self, job: Callable[[], T], given_up: threading.Event) -> T:
        """Do a job, repeatedly while others have the file locked."""
        self._job = given_up
        until = time.monotonic() + self._database.lock_timeout
        try:
            while True:
                if given_up.is_set():
                    raise _GivenUpError
                try:
                    with self._own_errors():
                        return job()
                except DatabaseLockedError:
                    if time.monotonic() >= until:
                        raise
                given_up.wait(PAUSE_S)
        finally:
            self._job = None

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Raise the driver's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(
                error, "sqlite_errorcode", sqlite3.SQLITE_OK
            )  # the driver's own errors have none
            kind = _KINDS.get(code & 0xFF, DatabaseError)
            what = str(error)
            if code == sqlite3.SQLITE_AUTH:
                what = "SQLRead only reads, and this PRAGMA changes something: try it in SQLExecute"
            if kind is DatabaseLockedError:
                what += f", for lock_timeout={self._database.lock_timeout:g} s"
            raise kind(f"{self._database}: {what}") from error

    def _connect(self) -> None:
        connection = self._connection
        if connection is None:
            path = self._database.path.resolve()
            root = self._database.root
            if root is not None and not path.is_relative_to(Path(root).resolve()):
                raise DatabaseError(
                    f"{self._database} is outside of root={str(root)!r}: name a file inside it, or "
                    "another root"
                )
            mode = "rw" if self._reads else "rwc"
            connection = self._connection = sqlite3.connect(
                f"{path.as_uri()}?mode={mode}",
                timeout=0,
                isolation_level=None,
                check_same_thread=False,
                uri=True,
            )
        if not self._reads:  # for batches, see _fetched: this takes half their time
            connection.text_factory = self._text
        connection.set_progress_handler(self._given_up, STEPS)
        # Another file, perhaps named in data, is not part of this database.
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA foreign_keys = ON")
        if self._reads:
            connection.execute("PRAGMA query_only = ON")
            connection.set_authorizer(only_asks)  # which query_only does not stop from some PRAGMAs
            return
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode == "wal":  # not every file system allows it
            self._log = WriteAheadLog(self._database)
        synchronous = "FULL" if self._database.durable else "NORMAL"
        connection.execute(f"PRAGMA synchronous = {synchronous}")

    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _columns(cursor: sqlite3.Cursor) -> Sequence[str]:
    return column_names([column[0] for column in cursor.description or ()])
