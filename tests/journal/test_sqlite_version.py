"""What is said of versions of SQLite."""

import sqlite3

import pytest

from kaygraph.journal.sqlite_version import sqlite_caveats


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ((3, 40, 1), ["other than by sqlite3", "two processes"]),
        ((3, 44, 6), ["other than by sqlite3"]),
        ((3, 50, 6), ["other than by sqlite3", "two processes"]),
        ((3, 50, 7), ["other than by sqlite3"]),
        ((3, 51, 1), ["two processes"]),
        ((3, 51, 3), []),
        ((3, 53, 0), []),
    ],
)
def test_what_is_known_of_a_version_of_sqlite(
    version: tuple[int, int, int], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said with the version, and nothing where there is nothing to say."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    text = sqlite_caveats()
    everything = ["other than by sqlite3", "two processes"]
    assert [words for words in everything if words in (text or "")] == said
    assert (text is None) == (not said)
