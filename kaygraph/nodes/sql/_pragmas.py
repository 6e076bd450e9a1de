"""Which PRAGMAs of SQLite only read: the others are refused on a reading connection."""

import sqlite3

# A PRAGMA with a value changes something, except these; without a value, only these do.
ASKS = frozenset(
    [
        "foreign_key_check",
        "foreign_key_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "integrity_check",
        "quick_check",
        "table_info",
        "table_list",
        "table_xinfo",
    ]
)
CHANGES = frozenset(("incremental_vacuum", "optimize", "wal_checkpoint"))


def only_asks(action: int, name: str | None, value: str | None, *_: object) -> int:
    """Allow a statement, unless it is a PRAGMA that changes something."""
    if action != sqlite3.SQLITE_PRAGMA or name is None:
        return sqlite3.SQLITE_OK
    changes = name.lower() in CHANGES if value is None else name.lower() not in ASKS
    return sqlite3.SQLITE_DENY if changes else sqlite3.SQLITE_OK
