"""A SQLite file shared by several processes: transactions, waits for locks, clear errors."""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ..errors import (
    JournalError,
    JournalFullError,
    JournalLockedError,
    JournalUnavailableError,
)
from .store import corrupt

T = TypeVar("T")
Values = Sequence[str | int | float | bytes | None]

LOCK_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 0.5  # for others to finish reading what is to be freed
INCREMENTAL = 2  # of PRAGMA auto_vacuum
POLL_S = 0.001  # between two attempts to get a lock
# A process that commits back to back holds the lock almost always, and others can only poll. So
# it regularly leaves a gap that is longer than their pause.
GAP_S = 0.0015
GAP_EVERY_S = 0.02
CHECKPOINT_PAGES = 1000  # in the log, until one is due: SQLite's own default
APPLICATION_ID = 0x4B617947  # of a file made only for a journal

_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_UNREADABLE = {
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database",
    sqlite3.SQLITE_CORRUPT: "SQLite cannot read it",
}
_REFUSED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_CUT = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}


class SQLiteFile:
    """A SQLite file in WAL mode, used through one connection. ``keep_log`` must come first.

    Only one thread at a time may use it, in the process that opened it.

    Args:
        path: The path of the file.
        create: Create a missing file.
        lock_timeout: Seconds to wait for a lock that another process holds.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        lock_timeout: float = LOCK_TIMEOUT_S,
    ) -> None:
        self.place = repr(str(path))  # as errors name it
        self.path = Path(os.path.realpath(path))
        self._file_path, self._log_path = str(self.path), f"{self.path}-wal"
        self._lock_timeout = lock_timeout
        self._process = os.getpid()
        self._in_use = threading.RLock()  # which a fork waits for
        self._connection: sqlite3.Connection | None = None
        self._ended = self._gap = time.monotonic()  # of the last commit, and of the last gap
        self._files = 0, 0  # the inodes of the file and its log
        # How many pages may be written at once until the next checkpoint. None: SQLite makes one by
        # itself, at any commit that is not at once.
        self._left: int | None = None
        self._asked = False  # for a commit at once, since the last one
        _prepare(self.path, self._log_path, self.place, create)
        with _opening:
            _open_files.add(self)
        try:
            with self._in_use:  # otherwise a child could find SQLite's locks held forever
                self._connection = sqlite3.connect(
                    f"{self.path.as_uri()}?mode=rw",
                    timeout=0,
                    isolation_level=None,
                    check_same_thread=False,
                    uri=True,
                )
        except sqlite3.Error as error:
            raise self._error_of(error) from error

    def keep_log(self, durable: bool) -> None:
        """Turn on the write-ahead log. Until then the file is left unchanged."""
        self._patiently(lambda connection: self._keep_log(connection, durable))
        self._files = self._inodes()

    def _keep_log(self, connection: sqlite3.Connection, durable: bool) -> None:
        if connection.execute("PRAGMA page_count").fetchone() == (0,):
            # Once there is a log, this is accepted and does nothing.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise JournalUnavailableError(
                f"{self.place} is on a file system that does not support SQLite's write-ahead log "
                f"(journal_mode is {mode!r}). Keep the journal on a local disk, or in PostgreSQL"
            )
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the log

    def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a job reads, from one consistent snapshot."""

        def whole(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN")
            try:
                return job(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

        return self._patiently(whole)

    def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Do a job in one transaction, and return its result when that is committed.

        The job may be done more than once, if others have the lock. If it raises, nothing is
        written.
        """

        def whole(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                done = job(connection)
                connection.execute("COMMIT")
            except BaseException:
                # A full disk has already ended it; what followed would be committed by itself.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return done

        self._begin()
        done = self._patiently(whole)
        self._check_files()
        return done

    def change(self, statement: str, values: Values) -> int:
        """Execute one statement as a transaction; return how many rows it changed."""
        self._begin()
        changed = self._patiently(lambda db: db.execute(statement, values).rowcount)
        self._check_files()
        return changed

    def change_at_once(self, statement: str, values: Values, pages: int) -> int | None:
        """Do the same without waiting for others or for the disk; None: use ``change`` instead.

        A checkpoint waits for the disk, and so does the first commit after it, which restarts the
        log: ``change`` makes both.

        Args:
            statement: As for ``change``.
            values: The same.
            pages: About how many pages it writes.
        """
        self._asked = True
        if self._left is None or self._is_gap_due(time.monotonic()):
            return None
        if self._left < pages:
            self._left = 0
            return None
        try:
            with self._in_use:
                changed = self._open().execute(statement, values).rowcount
        except sqlite3.Error as error:
            if _is_locked(error):
                return None
            raise self._error_of(error) from error
        except UnicodeDecodeError as error:  # as in _patiently
            raise corrupt(self.place, "SQLite cannot read it") from error
        self._left -= pages
        self._check_files()
        return changed

    def shrink(self) -> None:
        """Give unused pages back to the file system.

        While another process reads, the log and the file keep their size: both shrink when all
        have read and written what they had to. A file made by someone else keeps its pages,
        which are reused: only VACUUM could free them, by rewriting everything.
        """

        def freed(connection: sqlite3.Connection) -> None:
            if connection.execute("PRAGMA auto_vacuum").fetchone() == (INCREMENTAL,):
                # execute() would free one page, since each is a row, and one without columns.
                connection.executescript("PRAGMA incremental_vacuum")

        def emptied(connection: sqlite3.Connection) -> bool:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

        self._patiently(freed)
        until = time.monotonic() + READ_TIMEOUT_S
        while not self._patiently(emptied) and time.monotonic() < until:
            time.sleep(POLL_S)
        self._check_files()

    def close(self) -> None:
        """Close the file. It may be called twice, and in a child, which has already closed it."""
        with self._in_use:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def hold(self) -> None:
        """Keep other threads from using the file."""
        self._in_use.acquire()

    def release(self) -> None:
        """Let other threads use it again."""
        self._in_use.release()

    # --- internals ---------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        if os.getpid() != self._process:
            raise JournalError(
                f"{self.place} was opened by process {self._process}, the parent of this one:"
                " a SQLite connection belongs to its process. Open the journal in this process, too"
            )
        raise JournalError(f"{self.place} is closed. Open it again")

    def _patiently(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Do a job, repeatedly while others have the lock."""
        connection = self._open()
        until = time.monotonic() + self._lock_timeout
        while True:
            try:
                with self._in_use:
                    return job(connection)
            except sqlite3.Error as error:
                if not _is_locked(error):
                    raise self._error_of(error) from error
                if time.monotonic() >= until:
                    raise self._locked(str(error)) from error
            except UnicodeDecodeError as error:  # from SQLite's message about a damaged schema
                raise corrupt(self.place, "SQLite cannot read it") from error
            time.sleep(POLL_S)

    def _begin(self) -> None:
        """Prepare a commit that may take a while."""
        if self._is_gap_due(time.monotonic()):
            time.sleep(GAP_S)
            self._gap = time.monotonic()
        asked, self._asked = self._asked, False
        if asked and self._left is None:  # if the last commit has made a checkpoint, this ends it
            self._make_checkpoints(False)
        elif self._left is not None and not (asked and self._left):
            self._make_checkpoints(True)

    def _is_gap_due(self, now: float) -> bool:
        if now - self._ended < GAP_S:
            return now - self._gap >= GAP_EVERY_S
        self._gap = now
        return False

    def _make_checkpoints(self, made: bool) -> None:
        """Set whether SQLite makes a checkpoint at a commit when one is due."""
        pages = CHECKPOINT_PAGES if made else 0
        self._patiently(lambda db: db.execute(f"PRAGMA wal_autocheckpoint = {pages}"))
        self._left = None if made else CHECKPOINT_PAGES

    def _inodes(self) -> tuple[int, int]:
        try:
            return os.stat(self._file_path).st_ino, os.stat(self._log_path).st_ino
        except OSError:
            return 0, 0

    def _check_files(self) -> None:
        """Raise if others would not find the files that this connection writes to.

        When a process closes a file, it loses all of its locks on it, whichever descriptor took
        them. Another process then believes that it is the last one, and removes the log.
        """
        self._ended = time.monotonic()
        if self._inodes() != self._files:
            raise JournalUnavailableError(
                f"{self.place} or its log was removed or replaced while it was in use, so that "
                "the last commits may be lost. Nothing more is recorded. Either the file "
                "was moved or deleted, or something in this process opened and closed it without "
                "sqlite3 (open(), a copy, a hash), which drops this process's locks. "
                "Copy a journal with sqlite3.Connection.backup()"
            )

    def _locked(self, what: str) -> JournalLockedError:
        return JournalLockedError(
            f"{self.place} was locked by another process for {self._lock_timeout:g} s ({what}). "
            "Nothing was written. Look for a process that holds a transaction open, or try again"
        )

    def _error_of(self, error: sqlite3.Error) -> JournalError:
        """Return one of our errors for an error of the driver."""
        whole: int = getattr(
            error, "sqlite_errorcode", sqlite3.SQLITE_OK
        )  # the driver's own have none
        code = whole & 0xFF
        if code == sqlite3.SQLITE_FULL or whole == sqlite3.SQLITE_IOERR_SHMSIZE:
            return JournalFullError(
                f"{self.place}: the disk is full. The transaction was undone, and nothing was "
                "acknowledged. Free some space, and resume the run"
            )
        if code in _REFUSED or (code == sqlite3.SQLITE_IOERR and whole not in _CUT):
            return JournalUnavailableError(
                f"{self.place} cannot be written: {error}. Nothing was acknowledged. Check the "
                "permissions of the file and its folder, the disk, and its quota"
            )
        if code == sqlite3.SQLITE_CANTOPEN:
            return JournalUnavailableError(
                f"{self.place} cannot be opened: {error}. Check the permissions of the file and "
                "its folder"
            )
        if code == sqlite3.SQLITE_TOOBIG:
            return JournalError(f"{self.place}: the value to record is too large: {error}")
        return corrupt(self.place, _UNREADABLE.get(code, str(error)))


# SQLite tracks in memory which locks the process has on a file. A forked child gets these notes but
# not the locks: a new connection would have none, and others would remove the log under it. So the
# child closes what it inherited, which takes nothing from the parent, and the notes are gone.
_open_files: "weakref.WeakSet[SQLiteFile]" = weakref.WeakSet()
_opening = threading.Lock()  # which a fork waits for, too
_held: "list[SQLiteFile]" = []  # while this process forks


def _hold_all() -> None:
    """Wait until no thread is inside a transaction: it would stay so in the child."""
    _opening.acquire()
    for file in list(_open_files):
        file.hold()
        _held.append(file)


def _release_all() -> None:
    while _held:
        _held.pop().release()
    _opening.release()


def _close_all() -> None:
    files = list(_held)
    _release_all()
    for file in files:
        with suppress(sqlite3.Error):
            file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_all, after_in_parent=_release_all, after_in_child=_close_all)


def _is_locked(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in _LOCKED


def _prepare(path: Path, log: str, place: str, create: bool) -> None:
    """Create a missing file, for its owner only, and refuse what cannot be a database.

    An existing file is not opened: that would drop the locks of other connections in this process.
    """
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        if not create:
            raise JournalUnavailableError(f"there is no journal at {place}") from None
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return  # another process has just created it
        except FileNotFoundError as error:
            raise JournalUnavailableError(
                f"{place} cannot be created: there is no folder {str(path.parent)!r}. "
                "Create it first"
            ) from error
        except OSError as error:
            raise JournalUnavailableError(f"{place} cannot be created: {error.strerror}") from error
        return
    except OSError as error:
        raise JournalUnavailableError(f"{place} cannot be opened: {error.strerror}") from error
    if not path.is_file():
        raise JournalUnavailableError(f"{place} is not a file: type the path of one, as in runs.db")
    if not size and _size(log):
        raise corrupt(place, "the file is empty, but its log is not")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
