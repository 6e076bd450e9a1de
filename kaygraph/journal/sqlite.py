"""Runs recorded in a SQLite file, which may contain other tables, too."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ..errors import JournalUnavailableError
from .sqlite_file import LOCK_TIMEOUT_S, SQLiteFile, Values
from .sqlite_tables import APPEND, NUMBERS, RunRow, StoredRow, Tables, new_run
from .store import (
    Answer,
    Row,
    RunInfo,
    answered,
    check_run,
    check_status,
    checked,
    checksum,
    corrupt,
    exists,
    plain,
)

BATCH = 256  # rows read at once
AT_ONCE = 1 << 16  # the most bytes of a row that is written at once
PAGE = 4096  # approximate bytes of a page


class SQLiteStore:
    """Runs recorded in a SQLite file; see Store.

    Args:
        path: The path of the file.
        durable: Whether writes are on the disk on return; if not, the operating system has them.
        create: Create a missing file; otherwise that is a JournalUnavailableError.
        clock: Returns the time, in seconds since 1970.
        entropy: Returns a number of random bytes, for the seeds of runs.
        lock_timeout: Seconds to wait for a lock that another process holds.

    Attributes:
        path: The path of the file, with symlinks resolved.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durable: bool = False,
        create: bool = True,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
        lock_timeout: float = LOCK_TIMEOUT_S,
    ) -> None:
        self._clock, self._entropy = clock, entropy
        self._durable = durable
        self._written: dict[str, tuple[int, int]] = {}  # key and last row of each run written to
        self._file = SQLiteFile(Path(path), create=create, lock_timeout=lock_timeout)
        self.path, self._place = self._file.path, self._file.place
        self._tables = Tables(self._place)
        try:
            are_made = self._file.read(self._tables.are_made)
            self._file.keep_log(durable)
            if not are_made:
                self._file.write(self._tables.make)
        except BaseException:
            self._file.close()
            raise

    # --- one run -------------------------------------------------------------------------------

    def claim(self, run: str, graph: str) -> RunInfo:
        check_run(run)
        tables = self._tables

        def job(connection: sqlite3.Connection) -> RunInfo:
            now = self._now()
            found = tables.find(connection, run)
            if found is None:
                found = tables.insert(
                    connection, new_run(run, plain(graph), now, self._entropy(16))
                )
            if found.status != "done":
                found = found._replace(status="running", action=None, error=None)
            found = found._replace(epoch=tables.next_epoch(connection), updated=now)
            return tables.info(connection, tables.write(connection, found))

        info = self._file.write(job)
        self._written.pop(run, None)
        return info

    def rows(self, run: str) -> Iterator[Row]:
        found = self._file.read(lambda connection: self._tables.get(connection, run))
        return checked(run, found.first, self._stored(found), self._place)

    def _stored(self, found: RunRow) -> Iterator[StoredRow]:
        """Yield the rows of a log. No transaction stays open, which would keep the log long."""
        number = found.first - 1

        def batch(connection: sqlite3.Connection) -> tuple[int, list[StoredRow]]:
            now = self._tables.get(connection, found.run)
            return now.first, self._tables.rows(connection, found, number, BATCH)

        while True:
            first, rows = self._file.read(batch)
            if first > number + 1:
                raise JournalUnavailableError(
                    f"the log of run {found.run!r} was shortened while it was read. Read it again"
                )
            if not rows:
                break
            yield from rows
            number = rows[-1][0]
        if number < found.last:
            raise corrupt(self._place, f"row {number + 1} of run {found.run!r} is missing")

    def append(self, run: str, epoch: int, blob: bytes) -> int:
        if run in self._written:
            key, number, values = self._next(run, epoch, blob)
            if self._file.change(APPEND, values):
                self._written[run] = key, number
                return number
        # The epoch has changed, or another connection has written a row.
        return self._append_any(run, epoch, blob)

    def append_at_once(self, run: str, epoch: int, blob: bytes) -> int | None:
        """Write the next row of a run, as ``append`` does, if that needs no waiting.

        It returns None, and writes nothing, if another connection has the lock or should have its
        turn, if a checkpoint is due, and if the row may not be the run's next one:
        ``append`` then finds out. A durable store always returns None.
        """
        if self._durable or len(blob) > AT_ONCE or run not in self._written:
            return None
        key, number, values = self._next(run, epoch, blob)
        if not self._file.change_at_once(APPEND, values, 2 + len(blob) // PAGE):
            return None
        self._written[run] = key, number
        return number

    def _next(self, run: str, epoch: int, blob: bytes) -> tuple[int, int, Values]:
        """Return the key of a run, the number of its next row, and the values to write."""
        key, last = self._written[run]
        base, number, at = key * NUMBERS, last + 1, self._now()
        before = base + last if last else None
        row = base + number, at, checksum(run, number, at, blob), blob
        return key, number, (*row, key, epoch, base, base + NUMBERS - 1, before)

    def _append_any(self, run: str, epoch: int, blob: bytes) -> int:
        def job(connection: sqlite3.Connection) -> tuple[int, int]:
            found = self._tables.owned(connection, run, epoch)
            return found.key, self._tables.append(connection, found, blob, self._now())

        self._written[run] = written = self._file.write(job)
        return written[1]

    def append_in(self, connection: sqlite3.Connection, run: str, epoch: int, blob: bytes) -> int:
        """Write the next row in a transaction begun on another connection to this file.

        It is recorded when that is committed, together with the rest of that transaction.

        Raises:
            RunTakenOverError: As for ``append``.
        """
        found = self._tables.owned(connection, run, epoch)
        return self._tables.append(connection, found, blob, self._now())

    def holds_in(self, connection: sqlite3.Connection, run: str, number: int, blob: bytes) -> bool:
        """Whether a row that ``append_in`` wrote was committed."""
        found = self._tables.find(connection, run)
        rows = [] if found is None else self._tables.rows(connection, found, number - 1, 1)
        return [(row[0], row[3]) for row in rows] == [(number, blob)]

    def is_in(self, connection: sqlite3.Connection) -> bool:
        """Whether another connection is to this file."""
        for _, name, path in connection.execute("PRAGMA database_list"):
            if name == "main" and path:
                return os.path.samefile(path, self.path)
        return False

    def finish(
        self, run: str, epoch: int, status: str, action: str | None, error: str | None
    ) -> None:
        check_status(status)

        def job(connection: sqlite3.Connection) -> None:
            found = self._tables.owned(connection, run, epoch)
            found = found._replace(status=status, action=action, updated=self._now())
            found = found._replace(error=error if error is None else plain(error))
            self._tables.write(connection, found)

        self._file.write(job)

    def set_input(self, run: str, epoch: int, data: bytes) -> None:
        def job(connection: sqlite3.Connection) -> None:
            found = self._tables.owned(connection, run, epoch)
            found = self._tables.put_input(connection, found, data)
            self._tables.write(connection, found._replace(updated=self._now()))

        self._file.write(job)

    def answer(self, run: str, name: str, data: bytes) -> None:
        def job(connection: sqlite3.Connection) -> None:
            found, now = self._tables.get(connection, run), self._now()
            if not self._tables.put_answer(connection, found, Answer(name, data, now)):
                raise answered(run, name)
            self._tables.write(connection, found._replace(updated=now))

        self._file.write(job)

    def answers(self, run: str) -> list[Answer]:
        return self._file.read(
            lambda connection: self._tables.answers(connection, self._tables.get(connection, run))
        )

    def info(self, run: str) -> RunInfo:
        return self._file.read(
            lambda connection: self._tables.info(connection, self._tables.get(connection, run))
        )

    def find(self, run: str) -> RunInfo | None:
        def job(connection: sqlite3.Connection) -> RunInfo | None:
            found = self._tables.find(connection, run)
            return None if found is None else self._tables.info(connection, found)

        return self._file.read(job)

    # --- all runs ------------------------------------------------------------------------------

    def runs(self) -> list[RunInfo]:
        def job(connection: sqlite3.Connection) -> list[RunInfo]:
            found = self._tables.all(connection)
            return [self._tables.info(connection, row, inputs=False) for row in found]

        return self._file.read(job)

    def copy(self, run: str, new: str, through: int) -> None:
        check_run(new)

        def job(connection: sqlite3.Connection) -> None:
            found = self._tables.get(connection, run)
            if self._tables.find(connection, new) is not None:
                raise exists(new)
            made = new_run(new, found.graph, self._now(), found.seed)
            self._tables.copy(connection, found, made, through)

        self._file.write(job)

    def forget(self, run: str, before: int) -> None:
        def job(connection: sqlite3.Connection) -> None:
            found = self._tables.get(connection, run)
            found = self._tables.forget(connection, found, before)
            self._tables.write(connection, found._replace(updated=self._now()))

        self._file.write(job)

    def remove(self, runs: Iterable[str]) -> None:
        for run in runs:  # a transaction each, so that others can write in between
            self._remove(run)

    def _remove(self, run: str) -> None:
        self._file.write(lambda connection: self._tables.remove(connection, run))
        self._written.pop(run, None)

    def compact(self) -> None:
        self._file.shrink()

    # --- the cache -----------------------------------------------------------------------------

    def cache_get(self, key: bytes) -> tuple[bytes, float] | None:
        return self.cache_get_all((key,)).get(key)

    def cache_get_all(self, keys: Iterable[bytes]) -> dict[bytes, tuple[bytes, float]]:
        return self._file.read(lambda connection: self._tables.cached(connection, keys))

    def cache_set(self, key: bytes, data: bytes, expires: float | None) -> None:
        self.cache_set_all({key: (data, expires)})

    def cache_set_all(self, entries: Mapping[bytes, tuple[bytes, float | None]]) -> None:
        self._file.write(lambda connection: self._tables.cache(connection, entries))

    def cache_prune(self, now: float) -> None:
        self._file.change("DELETE FROM kaygraph_cache WHERE expires <= ?", (now,))

    def close(self) -> None:
        self._file.close()

    def _now(self) -> float:
        return float(self._clock())  # SQLite would convert an int, and the checksums differ
