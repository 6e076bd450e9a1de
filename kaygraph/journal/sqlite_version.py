"""Known problems of the SQLite version that Python uses."""

import sqlite3


def sqlite_caveats() -> str | None:
    """Return what to avoid with this process's version of SQLite, or None."""
    version = sqlite3.sqlite_version_info
    advice = []
    if version < (3, 51):
        advice.append(
            "do not open the file without SQLite while a run records (a process that does so loses "
            "its locks; SQLite 3.51.0 keeps them)"
        )
    if version < (3, 51, 3) and not any(
        branch <= version < (*branch[:2], 999) for branch in ((3, 44, 6), (3, 50, 7))
    ):
        advice.append(
            "avoid recording in one file from two processes at once (in rare cases, that "
            "damages it; fixed in 3.51.3, 3.50.7 and 3.44.6)"
        )
    if not advice:
        return None
    return f"Python uses SQLite {sqlite3.sqlite_version}: {'; '.join(advice)}"
