"""Stores of runs: what they return, who may write to them, and damage to their files."""

from kaygraph.journal import sqlite, sqlite_file, sqlite_tables, store
from tests.planted.checks_of_stores import (
    a_child_that_opens_the_file_keeps_its_log,
    checkpoints_are_made_by_the_thread,
    what_is_acknowledged_at_once_is_there,
    what_is_acknowledged_is_there,
    what_is_damaged_is_a_beginning_or_refused,
    what_is_missing_is_missed,
    whoever_was_overtaken_writes_nothing,
)
from tests.planted.planting import Bug

BUGS = [
    Bug(
        "a row of a log is not compared with its checksum",
        what_is_damaged_is_a_beginning_or_refused,
        "RunInfo",
        {
            store.checked: """
                - if not as_typed or known != checksum(run, number, at, blob):
                + if not as_typed:
            """
        },
    ),
    Bug(
        "a row that is missing in a log is passed over",
        what_is_missing_is_missed,
        "rows of the middle are not missed",
        {
            store.checked: """
                - if number != expected:
                + if False:
            """
        },
    ),
    Bug(
        "a log may have fewer rows than it has had",
        what_is_missing_is_missed,
        "rows of the end are not missed",
        {
            sqlite.SQLiteStore._stored: """
                - if number < found.last:
                + if False:
            """
        },
    ),
    Bug(
        "a run is written to by every process that has ever claimed it",
        whoever_was_overtaken_writes_nothing,
        "after it was overtaken",
        {
            sqlite_tables.Tables.owned: """
                - if found is None or found.epoch != epoch:
                + if found is None:
            """
        },
    ),
    Bug(
        "an epoch is given again when its run was removed",
        whoever_was_overtaken_writes_nothing,
        "a run that was made after its own",
        {
            sqlite_tables.Tables.next_epoch: """
                - " max(epoch, (SELECT coalesce(max(epoch), 0) FROM kaygraph_runs))"
                + " (SELECT coalesce(max(epoch), 0) FROM kaygraph_runs)"
            """
        },
    ),
    Bug(
        "a row is acknowledged in a log that was removed",
        what_is_acknowledged_is_there,
        "1 acknowledged, 0 there",
        {
            sqlite_file.SQLiteFile._check_files: """
                - if self._inodes() != self._files:
                + if False:
            """
        },
    ),
    Bug(
        "a row is acknowledged at once in a log that was removed",
        what_is_acknowledged_at_once_is_there,
        "4 acknowledged, 3 there",
        {
            sqlite_file.SQLiteFile.change_at_once: """
                - self._check_files()
            """
        },
    ),
    Bug(
        "a row is acknowledged at once that the disk has no room for",
        what_is_acknowledged_at_once_is_there,
        "4 acknowledged, 3 there",
        {
            sqlite_file.SQLiteFile.change_at_once: """
                - raise self._error_of(error) from error
                + return 1
            """
        },
    ),
    Bug(
        "a row is acknowledged at once to an owner that was overtaken",
        what_is_acknowledged_at_once_is_there,
        "4 acknowledged, 3 there",
        {
            sqlite.SQLiteStore.append_at_once: """
                - if not self._file.change_at_once(APPEND, values, 2 + len(blob) // PAGE):
                + if self._file.change_at_once(APPEND, values, 2) is None:
            """
        },
    ),
    Bug(
        "a checkpoint is made on the loop",
        checkpoints_are_made_by_the_thread,
        "the loop has made a checkpoint",
        {
            sqlite_file.SQLiteFile._make_checkpoints: """
                - pages = CHECKPOINT_PAGES if made else 0
                + pages = CHECKPOINT_PAGES
            """
        },
    ),
    Bug(
        "a child keeps what its parent has noted of its locks",
        a_child_that_opens_the_file_keeps_its_log,
        "the child has lost its log",
        {
            sqlite_file._close_all: """
                - file.close()
                + pass
            """
        },
    ),
]
