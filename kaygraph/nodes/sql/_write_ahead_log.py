"""The write-ahead log of a SQLite file, which other processes may remove."""

import os

from ._database import Database
from .errors import DatabaseUnavailableError


class WriteAheadLog:
    """The log that a connection writes to.

    When a process closes a file, it loses all of its locks on it, whichever descriptor took
    them. Another process then believes that it is the last one, and removes the log.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._path = f"{database.path.resolve()}-wal"
        self._inode = 0

    def check(self) -> None:
        """Raise if other processes would not find the log."""
        try:
            there = os.stat(self._path).st_ino
        except FileNotFoundError:
            there = 0
        self._inode = self._inode or there
        if not there or there != self._inode:
            raise DatabaseUnavailableError(
                f"{self._database}: another process has removed the log of this file, so the "
                "last commits may be lost. This process has lost its locks: something in it "
                "has opened and closed the file without sqlite3, perhaps with open(). Use "
                "sqlite3.Connection.backup() to copy a database"
            )
