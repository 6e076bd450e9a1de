"""What is to be known of the version of SQLite that Python has."""

import sqlite3


def sqlite_caveats() -> str | None:
    """Return what is to be said of this process's version of SQLite, or None."""
    version = sqlite3.sqlite_version_info
    said = []
    if version < (3, 51):
        said.append(
            "a process that opens and closes the journal's file other than by sqlite3 loses its "
            "locks on it, and what it records afterwards can be lost (it stops where that is "
            "noticed; SQLite 3.51.0 resists)"
        )
    if version < (3, 51, 3) and not any(
        branch <= version < (*branch[:2], 999) for branch in ((3, 44, 6), (3, 50, 7))
    ):
        said.append(
            "in rare cases two processes that write at the same moment damage the file (mended in "
            "3.51.3, 3.50.7 and 3.44.6)"
        )
    if not said:
        return None
    return f"SQLite {sqlite3.sqlite_version}: {'; '.join(said)}"
