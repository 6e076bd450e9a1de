"""Database errors, as a tree.

DatabaseError                   a database did not do what was requested
├── DatabaseUnavailableError    it cannot be reached or did not answer; another attempt may work
│   └── DatabaseLockedError     another transaction holds what this one needs
├── StatementError              a statement or its values cannot work (also a ValueError)
├── RowRefusedError             the database refuses the values of a row
└── RowUnreadableError          Python cannot represent a value of a row
"""

from ...errors import KayGraphError


class DatabaseError(KayGraphError):
    """A database did not do what was requested; the driver's own error is the cause."""


class DatabaseUnavailableError(DatabaseError):
    """It cannot be reached, the connection was lost, or it did not answer in time.

    Another attempt may work: ``retry=Retry(on=DatabaseUnavailableError)``. When a connection is
    lost or times out during a commit, it is unknown whether that was done.
    """


class DatabaseLockedError(DatabaseUnavailableError):
    """Another transaction holds what this one needs; nothing was changed."""


class StatementError(DatabaseError, ValueError):
    """A statement, or the values for its placeholders, cannot work as written."""


class RowRefusedError(DatabaseError):
    """The database refuses the values of a row: a constraint, a type, a length."""


class RowUnreadableError(DatabaseError):
    """Python cannot represent a value of a row: ``'infinity'`` as a date, text that is not UTF-8.

    The message names the column, and how the statement can read the value nevertheless.
    """
