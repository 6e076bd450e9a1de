"""What can go wrong with a database, as a tree.

DatabaseError                   a database did not do what it was asked to
├── DatabaseUnavailableError    it cannot be reached or did not answer; another attempt may work
│   └── DatabaseLockedError     another transaction holds what this one needs
├── StatementError              a statement, or what is bound to it, cannot work (also a ValueError)
├── RowRefusedError             the database does not take the values of a row
└── RowUnreadableError          Python has nothing for a value of a row
"""

from ...errors import KayGraphError


class DatabaseError(KayGraphError):
    """A database did not do what it was asked to; the driver's own error is the cause."""


class DatabaseUnavailableError(DatabaseError):
    """It cannot be reached, the connection was lost, or it did not answer in time.

    Another attempt may work: ``retry=Retry(on=DatabaseUnavailableError)``. When a connection is
    lost, or its time is over, in the middle of a commit, nobody can tell whether that was done.
    """


class DatabaseLockedError(DatabaseUnavailableError):
    """Another transaction holds what this one needs; nothing was changed."""


class StatementError(DatabaseError, ValueError):
    """A statement, or what is to be bound to its placeholders, cannot work as written."""


class RowRefusedError(DatabaseError):
    """The database does not take the values of a row: a constraint, a type, a length."""


class RowUnreadableError(DatabaseError):
    """Python has nothing for a value of a row: ``'infinity'`` as a date, text that is not UTF-8.

    It names the column, and says how the statement can read the value all the same.
    """
