"""Remarks about versions of SQLite."""

import sqlite3

import pytest

from kaygraph.journal.sqlite_version import sqlite_caveats


@pytest.mark.parametrize(
    ("version", "problems"),
    [
        ((3, 40, 1), ["without SQLite", "two processes"]),
        ((3, 44, 6), ["without SQLite"]),
        ((3, 50, 6), ["without SQLite", "two processes"]),
        ((3, 50, 7), ["without SQLite"]),
        ((3, 51, 1), ["two processes"]),
        ((3, 51, 3), []),
        ((3, 53, 0), []),
    ],
)
def test_what_is_known_of_a_version_of_sqlite(
    version: tuple[int, int, int], problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come with the version; without a known problem there are none."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    text = sqlite_caveats()
    everything = ["without SQLite", "two processes"]
    assert [words for words in everything if words in (text or "")] == problems
    assert (text is None) == (not problems)
