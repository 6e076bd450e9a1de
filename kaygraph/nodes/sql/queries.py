"""SQL: rows read in batches, rows written as they arrive, statements in one transaction.

SQLite is part of Python; PostgreSQL needs ``pip install 'kaygraph[postgres]'``. Whatever a node
does at once is one transaction, and values reach a statement only through placeholders: ``:name``
or ``?`` in SQLite, ``%(name)s`` or ``%s`` in PostgreSQL.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import starmap
from typing import Any, ClassVar, Unpack

from ..._validation import check_count
from ...batch.batch import BatchNode, ParallelBatchNode
from ...node.blocks import Blocks
from ...node.facts import resource_of
from ...node.node import Node
from ...node.settings import Checks
from ...outcome import Outcome
from ...streams.report import StageReport
from .._store import (
    StoreBatchSettings,
    Stored,
    StoreParallelSettings,
    StoreSettings,
    check_on_loop,
    configure,
    store,
    values_of,
)
from ._database import Connected, Database, check_database
from ._group_commit import MOST, GroupCommit, Result, given_back
from ._once import Commits, executed, once_of
from ._statement import Statement, check_statement, check_statements
from ._unreadable import Row, UnreadableRow
from .errors import StatementError

SQL_CHECKS: Checks = {
    "run_in": check_on_loop,
    "database": check_database,
    "statement": check_statement,
    "statements": check_statements,
    "batch": check_count,
    "max_rows": check_count,
}


class OnDatabase(Stored):
    """The common part of the nodes in this module: the database, and the parsing of statements."""

    database: Database
    _checks: ClassVar[Checks] = SQL_CHECKS

    def _configured(self, own: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        configure(self, own, settings)
        for name in own:
            if not hasattr(self, name):
                raise TypeError(f"{type(self).__name__} needs {name}=")

    def _statement(self, text: str) -> Statement:
        return Statement.of(text, self.database.is_sqlite)

    def _connected(self, reads: bool = False) -> AbstractAsyncContextManager[Connected]:
        """Open the database for a run, and import only the driver that it needs."""
        if self.database.is_sqlite:
            from ._sqlite import SQLite

            return SQLite.opened(self.database, reads)
        from ._postgres import Postgres

        return Postgres.opened(self.database, reads)


class SQLRead(OnDatabase, BatchNode[Row, Row]):
    """Read the rows of a query, ``{column: value}`` each, in batches.

    In ``SQLRead(...) | stage`` the rows go to the next stage as they arrive, so that a table of any
    size is read in bounded memory; when the stream ends early the query is closed immediately. In
    ``SQLRead(...) >> node`` the list of rows is written to ``shared[writes]``. All rows come from
    one read-only transaction; a PRAGMA of SQLite can only read, too. A subclass may change each row
    in ``exec(row)``.

    A row with a value that Python cannot represent (``'infinity'`` as a timestamp, years BC, text
    that is not UTF-8) is an item that fails with a RowUnreadableError, which names the column and
    how to read it. The rows after it are read nevertheless, subject to ``on_error``.

    Args:
        database: A url or a Database.
        statement: One constant query, with placeholders for its parameters.
        batch: How many rows to fetch and hold at once; by default, 1000.
        reads: The key of the parameters, a mapping or a sequence, depending on the placeholders.
        writes: The key of the rows.

    Raises:
        StatementError: The statement cannot work; from a run: the parameters do not fit it.
        RowUnreadableError: For a row: Python cannot represent one of its values.
        DatabaseError: From a run; its subclass shows whether a retry may help.
    """

    statement: str
    batch: int = 1000

    _accepts = BatchNode._accepts | {"reads", "writes", "database", "statement", "batch"}
    is_source = True

    def __init__(
        self,
        database: Database | str | None = None,
        statement: str | None = None,
        *,
        batch: int | None = None,
        **settings: Unpack[StoreBatchSettings],
    ) -> None:
        own = {"database": database, "statement": statement, "batch": batch}
        self._configured(own, settings)
        placeholders = self._statement(self.statement).placeholders
        if self.reads is None and placeholders:
            raise StatementError(
                f"the statement has the placeholder {placeholders[0]!r}, so it needs reads=: "
                "the key of its parameters"
            )
        if self.reads is not None:
            self._statement(self.statement).require_placeholders("and reads= names its parameters")

    def lifespan(self, shared: Any, /) -> AbstractAsyncContextManager[Connected]:
        return self._connected(reads=True)

    def prep(self, shared: Any, /) -> AsyncGenerator[Row, None]:
        """Return the rows, which are not read yet.

        Raises:
            MissingInputError: The parameters are missing.
        """
        statement = self._statement(self.statement)
        parameters = None if self.reads is None else values_of(shared, self.reads, self.name)
        database: Connected = resource_of(self)
        batches = database.batches(statement, statement.bound(parameters), self.batch)
        return Blocks[Any](batches)  # an unreadable row does not get past exec

    async def exec(self, row: Row, /) -> Row:
        """Return a row.

        Raises:
            RowUnreadableError: Python cannot represent one of its values.
        """
        return _readable(row)

    async def exec_block(self, rows: list[Any]) -> Iterator[Row] | list[Row]:
        return map(_readable, rows) if UnreadableRow in set(map(type, rows)) else rows


class SQLWrite(OnDatabase, ParallelBatchNode[Any, Any]):
    """Write each item with a statement; an item is done when its row is committed, and not before.

    Rows that wait at the same moment are written in one transaction, in the order of their
    arrival: many items at once make it fast. A row that the database refuses fails alone, with its
    own error, and the others of its transaction are committed.

    ``exec(item)`` returns the item, for a stage that follows; if the statement has RETURNING, it
    returns that row, or None.

    An item that is cancelled (a deadline, the end of the run) while it waits for its transaction is
    not written. If the transaction was already in progress, the row may be written after all; and
    if a connection is lost during a commit, the result is unknown. If items may come again
    (retries, a second run), let the statement handle it, as ``ON CONFLICT (id) DO NOTHING`` does.
    None of this is needed in a run whose journal is in the same database: a row and its record are
    committed in one transaction, and a run that was killed and resumed has written each row once.

    Args:
        database: A url or a Database. A missing SQLite file is created.
        statement: One constant statement; its placeholders are bound to the item, a mapping or a
            sequence.
        max_workers: How many items wait at once, and are written together; by default, 500.
        reads: The key of the items, if the node is not a stage.
        writes: The key for the number of rows written.

    Raises:
        StatementError: The statement cannot work; for an item: it does not fit the placeholders.
        RowRefusedError: For an item: the database refuses its values.
        RowUnreadableError: For an item: Python cannot represent a value from RETURNING.
        DatabaseError: For an item; its subclass shows whether a retry may help.
    """

    statement: str
    max_workers = 500

    _accepts = ParallelBatchNode._accepts | {"reads", "writes", "database", "statement"}

    def __init__(
        self,
        database: Database | str | None = None,
        statement: str | None = None,
        **settings: Unpack[StoreParallelSettings],
    ) -> None:
        self._configured({"database": database, "statement": statement}, settings)
        self._statement(self.statement).require_placeholders("and would write each item alike")

    @asynccontextmanager
    async def lifespan(self, shared: Any, /) -> AsyncIterator[GroupCommit]:
        async with self._connected() as database:
            commit = Commits(database, self._statement(self.statement))
            async with GroupCommit(commit).working() as group:
                yield group

    async def exec(self, item: Any, /) -> Any:
        group: GroupCommit = resource_of(self)
        row: Any = self._statement(self.statement).bound(item)
        once, commits = once_of(self), group.commit
        if once is not None and isinstance(commits, Commits):
            here = once.here.get(commits.database)  # no coroutine per row once that is known
            if here or (here is None and await once.is_here(commits.database)):
                row = commits.recorded(once, row)
        (result,) = await group.write([row])
        return _written(item, result)

    async def exec_block(self, items: list[Any]) -> Iterator[Any] | list[Any]:
        group: GroupCommit = resource_of(self)
        rows = items[: min(MOST, int(self.max_workers))]
        results = await group.write(_bound(self._statement(self.statement), rows))
        if results.count(None) == len(items):
            return items
        return starmap(_written, zip(rows, results, strict=True))  # not map: there may be fewer

    def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        if self.writes is not None:
            if isinstance(exec_res, StageReport):
                written = exec_res.ok
            else:
                written = sum(not isinstance(result, Outcome) for result in exec_res)
            store(shared, self.writes, written, self.name)


class SQLExecute(OnDatabase, Node[Any, Any]):
    """Run one statement or several in one transaction: all of them, or nothing.

    The result is the list of the rows, ``{column: value}`` each, that the last statement returns,
    or how many rows all of them changed, if it returns none.

    In a run whose journal is in the same database, the effects of the statements and their record
    are committed in one transaction: a run that was killed and resumed has done it once.

    Args:
        database: A url or a Database. A missing SQLite file is created.
        statements: Constant statements, run in this order.
        max_rows: How many rows the result may have; by default, 100,000. PostgreSQL sends all of
            them before they are counted.
        reads: The key of the parameters, which are bound to each statement with placeholders. As a
            stage, it binds each item.
        writes: The key of the result.

    Raises:
        StatementError: A statement cannot work; from a run: the parameters do not fit it, or it
            returns more than ``max_rows`` rows.
        RowUnreadableError: From a run: Python cannot represent a value of the result.
        DatabaseError: From a run; its subclass shows whether a retry may help.
    """

    statements: tuple[str, ...]
    max_rows: int = 100_000

    _accepts = Node._accepts | {"reads", "writes", "database", "statements", "max_rows"}

    def __init__(
        self,
        database: Database | str | None = None,
        *statements: str,
        max_rows: int | None = None,
        **settings: Unpack[StoreSettings],
    ) -> None:
        own = {"database": database, "statements": statements or None, "max_rows": max_rows}
        self._configured(own, settings)
        read = [self._statement(text) for text in self.statements]
        if self.reads is not None and not any(statement.placeholders for statement in read):
            read[-1].require_placeholders("and reads= names its parameters")

    def lifespan(self, shared: Any, /) -> AbstractAsyncContextManager[Connected]:
        return self._connected()

    async def exec(self, parameters: Any, /) -> list[Row] | int:
        statements = [self._statement(text) for text in self.statements]
        database: Connected = resource_of(self)
        bound = [(statement, statement.bound(parameters)) for statement in statements]
        if (once := once_of(self)) is not None and await once.is_here(database):
            return await executed(once, database, bound, self.max_rows)
        return await database.execute(bound, self.max_rows)


def _readable(row: Any) -> Row:
    if isinstance(row, UnreadableRow):
        raise row.error()
    return row  # type: ignore[no-any-return]


def _bound(statement: Statement, items: list[Any]) -> Sequence[Any]:
    """Return what to write for items; one that does not fit stays unchanged, and is refused."""
    if statement.takes_as_they_are(items):
        return items
    bound = []
    for item in items:
        try:
            bound.append(statement.bound(item))
        except StatementError:
            bound.append(item)
    return bound


def _written(item: Any, result: Result) -> Any:
    """Return the result for an item; raise why it was not written."""
    rows = given_back(result)
    if rows is None:
        return item
    return rows[0] if rows else None
