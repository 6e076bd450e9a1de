"""Known problems of the SQLite version that Python uses."""

import sqlite3


def sqlite_caveats() -> str | None:
    """Return the known problems of this process's SQLite version, or None."""
    version = sqlite3.sqlite_version_info
    problems = []
    if version < (3, 51):
        problems.append(
            "a process that opens and closes the journal's file without sqlite3 loses its "
            "locks on it, and what it records afterwards can be lost (it stops when it notices; "
            "SQLite 3.51.0 prevents this)"
        )
    if version < (3, 51, 3) and not any(
        branch <= version < (*branch[:2], 999) for branch in ((3, 44, 6), (3, 50, 7))
    ):
        problems.append(
            "in rare cases two processes that write at the same moment damage the file (fixed in "
            "3.51.3, 3.50.7 and 3.44.6)"
        )
    if not problems:
        return None
    return f"SQLite {sqlite3.sqlite_version}: {'; '.join(problems)}"
