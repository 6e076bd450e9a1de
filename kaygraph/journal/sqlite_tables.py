"""The tables of a SQLite journal, used within a transaction of the caller."""

import math
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..errors import JournalVersionError, RunUnknownError
from .sqlite_file import APPLICATION_ID
from .store import Answer, RunInfo, check_row, checked, checksum, corrupt, digest_of, taken_over

VERSION = 1  # of the tables
NUMBERS = 1 << 32  # the most rows of a log

# The key of a row is that of its run, times NUMBERS, plus its number: the rows of a run are next
# to each other and in order, and no index has to be written.
TABLES = """
CREATE TABLE kaygraph_journal (version INTEGER NOT NULL, epoch INTEGER NOT NULL);
CREATE TABLE kaygraph_runs (
    key INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE, graph TEXT NOT NULL, status TEXT NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL, epoch INTEGER NOT NULL, action TEXT, error TEXT,
    first INTEGER NOT NULL, last INTEGER NOT NULL, input BLOB, seed BLOB NOT NULL,
    checksum BLOB NOT NULL);
CREATE TABLE kaygraph_inputs (key INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE kaygraph_rows (
    key INTEGER PRIMARY KEY, at REAL NOT NULL, checksum BLOB NOT NULL, blob BLOB NOT NULL);
CREATE TABLE kaygraph_answers (
    key INTEGER PRIMARY KEY, run INTEGER NOT NULL, name TEXT NOT NULL, at REAL NOT NULL,
    data BLOB NOT NULL, checksum BLOB NOT NULL, UNIQUE (run, name));
CREATE TABLE kaygraph_cache (
    key BLOB PRIMARY KEY, data BLOB NOT NULL, expires REAL, checksum BLOB NOT NULL)
"""
NAMES = set(re.findall(r"TABLE (\w+)", TABLES))
LAST = "(SELECT max(key) FROM kaygraph_rows WHERE key BETWEEN {0} AND {1})"
# If the run has this epoch, and its log this last row.
APPEND = f"""
INSERT INTO kaygraph_rows SELECT ?, ?, ?, ?
WHERE (SELECT epoch FROM kaygraph_runs WHERE key = ?) = ? AND {LAST.format("?", "?")} IS ?
"""

StoredRow = tuple[int, float, bytes, bytes]  # number, time, checksum and blob


class RunRow(NamedTuple):
    """A row of kaygraph_runs.

    ``last`` is the number of the log's last row when this was written: if there are fewer rows than
    that, some were lost. ``input`` is the digest of the input.
    """

    key: int
    run: str
    graph: str
    status: str
    created: float
    updated: float
    epoch: int
    action: str | None
    error: str | None
    first: int
    last: int
    input: bytes | None
    seed: bytes
    checksum: bytes

    @property
    def base(self) -> int:
        """What is added to the number of a row to get its key."""
        return self.key * NUMBERS

    def info(self, rows: int, updated: float, data: bytes | None) -> RunInfo:
        """Return what is known about the run, given its last row and its input."""
        return RunInfo(
            run=self.run,
            graph=self.graph,
            status=self.status,
            created=self.created,
            updated=max(self.updated, updated),
            epoch=self.epoch,
            action=self.action,
            error=self.error,
            rows=rows,
            input=data,
            seed=self.seed,
        )


def new_run(run: str, graph: str, now: float, seed: bytes) -> RunRow:
    """Return a run without an owner or a key."""
    return RunRow(0, run, graph, "interrupted", now, now, 0, None, None, 1, 0, None, seed, b"")


class Tables:
    """The tables of one file, read and written in a transaction that the caller has begun."""

    def __init__(self, place: str) -> None:
        self._place = place

    def are_made(self, connection: sqlite3.Connection) -> bool:
        """Whether there are tables, of a version that this code knows."""
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        there = {name for (name,) in names} & NAMES
        if not there:
            (made_for,) = connection.execute("PRAGMA application_id").fetchone()
            if made_for != APPLICATION_ID:
                return False
        if there != NAMES:
            gone = ", ".join(sorted(NAMES - there))
            raise corrupt(self._place, f"tables are missing ({gone})")
        found = connection.execute("SELECT version FROM kaygraph_journal").fetchall()
        if len(found) != 1 or not isinstance(found[0][0], int) or found[0][0] < 1:
            raise corrupt(self._place, f"its version is {found}")
        if found[0][0] > VERSION:
            raise JournalVersionError(
                f"{self._place} was made by a newer kaygraph: its version is {found[0][0]}, and "
                f"this kaygraph knows {VERSION}. It was left unchanged. Update kaygraph"
            )
        return True

    def make(self, connection: sqlite3.Connection) -> None:
        if self.are_made(connection):  # by another process, in the meantime
            return
        if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for table in TABLES.split(";"):  # executescript() would commit first
            connection.execute(table)
        connection.execute("INSERT INTO kaygraph_journal VALUES (?, 0)", (VERSION,))

    # --- runs ----------------------------------------------------------------------------------

    def find(self, connection: sqlite3.Connection, run: str) -> RunRow | None:
        found = connection.execute("SELECT * FROM kaygraph_runs WHERE run = ?", (run,)).fetchone()
        return None if found is None else self._checked(found)

    def get(self, connection: sqlite3.Connection, run: str) -> RunRow:
        found = self.find(connection, run)
        if found is None:
            known = connection.execute("SELECT run FROM kaygraph_runs ORDER BY key DESC").fetchall()
            raise RunUnknownError(run, [name for (name,) in known], self._place)
        return found

    def owned(self, connection: sqlite3.Connection, run: str, epoch: int) -> RunRow:
        found = self.find(connection, run)
        if found is None or found.epoch != epoch:
            raise taken_over(run, gone=found is None)
        return found

    def all(self, connection: sqlite3.Connection) -> list[RunRow]:
        """Return all runs, newest first."""
        found = connection.execute("SELECT * FROM kaygraph_runs ORDER BY key DESC").fetchall()
        return [self._checked(row) for row in found]

    def insert(self, connection: sqlite3.Connection, row: RunRow) -> RunRow:
        """Write a new run; return it with its key."""
        (key,) = connection.execute(
            "SELECT coalesce(max(key), 0) + 1 FROM kaygraph_runs"
        ).fetchone()
        return self.write(connection, row._replace(key=key))

    def write(self, connection: sqlite3.Connection, row: RunRow) -> RunRow:
        """Write a run, replacing what there is of it."""
        row = row._replace(last=max(self.last(connection, row), row.last))
        row = row._replace(checksum=digest_of(*row[:-1]))
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT OR REPLACE INTO kaygraph_runs VALUES ({marks})", row)
        return row

    def info(self, connection: sqlite3.Connection, row: RunRow, inputs: bool = True) -> RunInfo:
        """Return what is known about a run."""
        data = self.input(connection, row) if inputs else None
        return row.info(*self.tail(connection, row), data)

    def input(self, connection: sqlite3.Connection, row: RunRow) -> bytes | None:
        if row.input is None:
            return None
        found = connection.execute(
            "SELECT data FROM kaygraph_inputs WHERE key = ?", (row.key,)
        ).fetchone()
        data = None if found is None else found[0]
        if not isinstance(data, bytes) or digest_of(data) != row.input:
            raise corrupt(self._place, f"the input of run {row.run!r} was changed")
        return data

    def next_epoch(self, connection: sqlite3.Connection) -> int:
        """Return an epoch that is larger than all earlier ones."""
        connection.execute(
            "UPDATE kaygraph_journal SET epoch = 1 +"
            " max(epoch, (SELECT coalesce(max(epoch), 0) FROM kaygraph_runs))"
        )
        (epoch,) = connection.execute("SELECT epoch FROM kaygraph_journal").fetchone()
        return int(epoch)

    def remove(self, connection: sqlite3.Connection, run: str) -> None:
        """Remove a run if it exists, even if it is damaged."""
        found = connection.execute("SELECT key FROM kaygraph_runs WHERE run = ?", (run,)).fetchone()
        if found is not None:
            (key,) = found
            span = (key * NUMBERS, (key + 1) * NUMBERS)
            connection.execute("DELETE FROM kaygraph_rows WHERE key >= ? AND key < ?", span)
            connection.execute("DELETE FROM kaygraph_answers WHERE run = ?", found)
            connection.execute("DELETE FROM kaygraph_inputs WHERE key = ?", found)
            connection.execute("DELETE FROM kaygraph_runs WHERE key = ?", found)

    def _checked(self, found: tuple[object, ...]) -> RunRow:
        if len(found) != len(RunRow._fields):  # a damaged schema is read as another one
            raise corrupt(self._place, "the table of runs has other columns")
        row = RunRow(*found)  # type: ignore[arg-type]
        if row.checksum != digest_of(*row[:-1]):
            raise corrupt(self._place, f"the entry of run {row.run!r} was changed")
        return row

    # --- rows of logs --------------------------------------------------------------------------

    def last(self, connection: sqlite3.Connection, row: RunRow) -> int:
        """Return the number of the last row of a log, 0 if there is none."""
        (key,) = connection.execute(
            "SELECT max(key) FROM kaygraph_rows WHERE key > ? AND key < ?",
            (row.base, row.base + NUMBERS),
        ).fetchone()
        return 0 if key is None else int(key) - row.base

    def tail(self, connection: sqlite3.Connection, row: RunRow) -> tuple[int, float]:
        """Return the number of the last row of a log and its time, checked; zeros for none."""
        number = self.last(connection, row)
        if number < row.last:
            raise corrupt(self._place, f"row {number + 1} of run {row.run!r} is missing")
        for found in checked(row.run, number, self.rows(connection, row, number - 1), self._place):
            return found.number, found.at
        return 0, 0.0

    def append(self, connection: sqlite3.Connection, row: RunRow, blob: bytes, at: float) -> int:
        """Write the next row of a log."""
        number = self.last(connection, row) + 1
        self.put(connection, row, number, at, blob)
        return number

    def put(
        self, connection: sqlite3.Connection, row: RunRow, number: int, at: float, blob: bytes
    ) -> None:
        connection.execute(
            "INSERT INTO kaygraph_rows VALUES (?, ?, ?, ?)",
            (row.base + number, at, checksum(row.run, number, at, blob), blob),
        )

    def rows(
        self, connection: sqlite3.Connection, row: RunRow, after: int, most: int = -1
    ) -> list[StoredRow]:
        """Return a number of rows after one, unchecked."""
        return connection.execute(
            "SELECT key - ?, at, checksum, blob FROM kaygraph_rows"
            " WHERE key > ? AND key < ? ORDER BY key LIMIT ?",
            (row.base, row.base + after, row.base + NUMBERS, most),
        ).fetchall()

    def forget(self, connection: sqlite3.Connection, row: RunRow, before: int) -> RunRow:
        """Remove the rows before one; return the run, which is not written yet."""
        check_row(row.run, before, row.first, self.last(connection, row))
        connection.execute(
            "DELETE FROM kaygraph_rows WHERE key > ? AND key < ?", (row.base, row.base + before)
        )
        return row._replace(first=before)

    def copy(self, connection: sqlite3.Connection, row: RunRow, new: RunRow, through: int) -> None:
        """Copy a run, up to a row of its log, to one that has been made."""
        last = self.last(connection, row)
        check_row(row.run, through, 0 if row.first == 1 else row.first, last)
        data = self.input(connection, row)
        new = new._replace(first=row.first, last=through, input=row.input)
        new = self.insert(connection, new)
        if data is not None:
            self.put_input(connection, new, data)
        until = -math.inf
        for number, at, blob in checked(
            row.run, row.first, self._some(connection, row), self._place
        ):
            if number > through:
                break
            self.put(connection, new, number, at, blob)
            until = at
        for one in self.answers(connection, row):
            if one.at <= until:
                self.put_answer(connection, new, one)

    def _some(self, connection: sqlite3.Connection, row: RunRow) -> Iterator[StoredRow]:
        number = row.first - 1
        while found := self.rows(connection, row, number, 256):
            yield from found
            number = found[-1][0]

    # --- inputs, answers, the cache ------------------------------------------------------------

    def put_input(self, connection: sqlite3.Connection, row: RunRow, data: bytes) -> RunRow:
        """Write an input; return the run, which is not written yet."""
        connection.execute("INSERT OR REPLACE INTO kaygraph_inputs VALUES (?, ?)", (row.key, data))
        return row._replace(input=digest_of(data))

    def put_answer(self, connection: sqlite3.Connection, row: RunRow, one: Answer) -> bool:
        """Write an answer, unless there is one."""
        known = digest_of(row.run, one.name, one.at, one.data)
        values = (row.key, one.name, one.at, one.data, known)
        return bool(
            connection.execute(
                "INSERT INTO kaygraph_answers (run, name, at, data, checksum)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                values,
            ).rowcount
        )

    def answers(self, connection: sqlite3.Connection, row: RunRow) -> list[Answer]:
        """Return the answers to a run, in the order in which they were written."""
        found = connection.execute(
            "SELECT name, data, at, checksum FROM kaygraph_answers WHERE run = ? ORDER BY key",
            (row.key,),
        ).fetchall()
        for name, data, at, known in found:
            if digest_of(row.run, name, at, data) != known:
                raise corrupt(self._place, f"answer {name!r} of run {row.run!r} was changed")
        return [Answer(name, data, at) for name, data, at, _ in found]

    def cached(
        self, connection: sqlite3.Connection, keys: Iterable[bytes]
    ) -> dict[bytes, tuple[bytes, float]]:
        """Return a cached value if it is unchanged: a missing one can be computed again."""
        entries: dict[bytes, tuple[bytes, float]] = {}
        for key in keys:
            found = connection.execute(
                "SELECT data, expires, checksum FROM kaygraph_cache WHERE key = ?", (key,)
            ).fetchone()
            if found is not None and digest_of(key, found[0], found[1]) == found[2]:
                entries[key] = found[0], math.inf if found[1] is None else found[1]
        return entries

    def cache(
        self,
        connection: sqlite3.Connection,
        entries: Mapping[bytes, tuple[bytes, float | None]],
    ) -> None:
        """Cache these values, replacing earlier ones."""
        connection.executemany(
            "INSERT OR REPLACE INTO kaygraph_cache VALUES (?, ?, ?, ?)",
            [_cached_row(key, *entry) for key, entry in entries.items()],
        )


def _cached_row(
    key: bytes, data: bytes, expires: float | None
) -> tuple[bytes, bytes, float | None, bytes]:
    expires = expires if expires is None else float(expires)
    return key, data, expires, digest_of(key, data, expires)
