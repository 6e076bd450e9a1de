"""Power loss and bad disks: what is opened afterwards is what was written, or it is refused."""

import os
import pickle
import random
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from kaygraph import JournalError, RunUnknownError
from kaygraph.errors import JournalCorruptError
from kaygraph.journal.sqlite import SQLiteStore
from kaygraph.journal.store import Answer, RunInfo
from tests.children import python
from tests.guarantees.figures import cases
from tests.journal.stores import folder

KILLED = "from tests.journal.test_damage import record; record(*__import__('sys').argv[1:])"
RUNS = ("import-1", "import-2", "import-3")
CACHED = b"value" * 100


class State(NamedTuple):
    """The state of a run at one moment."""

    info: RunInfo
    rows: list[bytes]
    answers: list[Answer]


class Written(NamedTuple):
    """The files that a killed process left, and the states of each run."""

    files: dict[str, bytes]
    history: dict[str, list[State]]


def record(path: str, checkpoint: str) -> None:
    """Write all kinds of runs, and end as if killed. ``checkpoint``: after how many pages, or 0."""
    store = SQLiteStore(path)
    connection = store._file._connection
    assert connection is not None
    connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint}")
    history: dict[str, list[State]] = defaultdict(list)
    data = random.Random(7).randbytes

    def note(run: str) -> None:
        rows = [row.blob for row in store.rows(run)]
        history[run].append(State(store.info(run), rows, store.answers(run)))

    for run in RUNS:
        epoch = store.claim(run, "Import").epoch
        note(run)
        store.set_input(run, epoch, data(300))
        note(run)
        for number in range(12):
            store.append(run, epoch, data(9000 if number == 5 else 40 + 60 * number))
            note(run)
            if number == 7:
                store.answer(run, "Confirm", data(50))
                note(run)
        if run == "import-2":
            store.forget(run, 4)
            note(run)
        if run != "import-3":
            store.finish(run, epoch, "done", "next", None)
            note(run)
    store.copy("import-1", "fork", 9)
    note("fork")
    store.cache_set(b"key", CACHED, None)
    store.remove(["import-3"])
    if checkpoint == "0":
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    Path(f"{path}.history").write_bytes(pickle.dumps(dict(history)))
    sys.stdout.flush()
    os._exit(0)


@cache
def written(checkpoint: int) -> Written:
    with folder() as place:
        path = Path(place, "runs.db")
        python("-c", KILLED, path, str(checkpoint), check=True)
        history = pickle.loads(Path(f"{path}.history").read_bytes())
        files = {name: Path(place, name).read_bytes() for name in ("runs.db", "runs.db-wal")}
    return Written(files, history)


def damaged(files: dict[str, bytes], seed: random.Random) -> dict[str, bytes]:
    """Cut a file, flip one bit of it, or leave a sector out."""
    name = seed.choice([name for name, data in files.items() if data])
    data = bytearray(files[name])
    at = seed.randrange(len(data))
    match seed.choice(["cut", "flip", "flip", "sector"]):
        case "cut":
            del data[at:]
        case "flip":
            data[at] ^= 1 << seed.randrange(8)
        case "sector":
            at -= at % 512
            data[at : at + 512] = bytes(len(data[at : at + 512]))
    return {**files, name: bytes(data)}


def check(path: Path, history: dict[str, list[State]]) -> None:
    """Open the damaged file and continue: every state is an earlier one, maybe with fewer rows."""
    store = SQLiteStore(path)
    try:
        assert {info.run for info in store.runs()} <= set(history)
        rows = {run: _was_so(store, run, states) for run, states in history.items()}
        store.append("import-2", store.claim("import-2", "Import").epoch, b"new")
        assert [row.blob for row in store.rows("import-2")] == [*rows["import-2"], b"new"]
        assert store.cache_get(b"key") in (None, (CACHED, float("inf")))
    finally:
        store.close()


def _was_so(store: SQLiteStore, run: str, states: list[State]) -> list[bytes]:
    try:
        info = store.info(run)
    except RunUnknownError:
        return []
    rows, answers = [row.blob for row in store.rows(run)], store.answers(run)
    times = {"updated", "rows"}
    lasting = [(name, getattr(info, name)) for name in info.__slots__ if name not in times]
    assert any(
        all(getattr(state.info, name) == value for name, value in lasting)
        and state.rows[: len(rows)] == rows
        and answers == state.answers[: len(answers)]
        and (info.status != "done" or rows == state.rows)
        for state in states
    ), (info, len(rows))
    return rows


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield Path(found)


@pytest.mark.parametrize("seeds", cases(20_000, 4_000, soak=250_000, fast=1 / 50))
def test_what_is_damaged_opens_to_a_beginning_or_is_refused(
    seeds: Iterable[int], place: Path
) -> None:
    """The database or its log is cut, loses a sector, or has a flipped bit."""
    outcomes: Counter[str] = Counter()
    for seed in seeds:
        chosen = random.Random(seed)
        files, history = written(chosen.choice([0, 20, 1_000]))
        for name, data in damaged(files, chosen).items():
            (place / name).write_bytes(data)
        try:
            check(place / "runs.db", history)
            outcomes["opened"] += 1
        except JournalError as error:
            outcomes[type(error).__name__] += 1
        except BaseException as error:
            error.add_note(f"with seed {seed}")
            raise
        for left in place.iterdir():
            left.unlink()
    assert min(outcomes["opened"], outcomes["JournalCorruptError"]) > 80, outcomes


def test_a_log_whose_end_is_lost_is_a_beginning(place: Path) -> None:
    """Whole transactions, in the order in which they were written, wherever it is cut."""
    files, history = written(1_000)
    log, seen = files["runs.db-wal"], set()
    for end in range(0, len(log), len(log) // 40):
        (place / "runs.db").write_bytes(files["runs.db"])
        (place / "runs.db-wal").write_bytes(log[:end])
        store = SQLiteStore(place / "runs.db")
        there = [info.run for info in reversed(store.runs())]
        for run in there:
            rows = [row.blob for row in store.rows(run)]
            assert State(store.info(run), rows, store.answers(run)) in history[run]
        seen.add(tuple(there))
        store.close()
        for left in place.iterdir():
            left.unlink()
    assert {(), RUNS[:1], RUNS[:2], RUNS} <= seen


def test_an_empty_file_with_a_log_is_refused(place: Path) -> None:
    """SQLite would take it for a new database, and remove the log."""
    log = written(1_000).files["runs.db-wal"]
    (place / "runs.db").touch()
    (place / "runs.db-wal").write_bytes(log)
    with pytest.raises(JournalCorruptError, match="the file is empty, but its log is not"):
        SQLiteStore(place / "runs.db")
    assert (place / "runs.db-wal").read_bytes() == log


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM kaygraph_rows WHERE key % 4294967296 = 6", "row 6 of run .* is missing"),
        ("DELETE FROM kaygraph_rows WHERE key % 4294967296 > 9", "row 10 of run .* is missing"),
        ("UPDATE kaygraph_rows SET blob = x'00'", "row .* of run .* was changed"),
        ("UPDATE kaygraph_rows SET blob = 'a'", "row .* of run .* was changed"),
        ("UPDATE kaygraph_rows SET at = at + 1", "row .* of run .* was changed"),
        ("UPDATE kaygraph_rows SET at = 'a'", "row .* of run .* was changed"),
        ("UPDATE kaygraph_runs SET status = 'failed'", "the entry of run 'fork' was changed"),
        ("UPDATE kaygraph_runs SET first = 2", "the entry of run 'fork' was changed"),
        ("UPDATE kaygraph_inputs SET data = x'00'", "the input of run .* was changed"),
        ("DELETE FROM kaygraph_inputs", "the input of run .* was changed"),
        ("UPDATE kaygraph_answers SET data = x'00'", "answer 'Confirm' of run .* was changed"),
        ("UPDATE kaygraph_journal SET version = 0", r"its version is \[\(0,\)\]"),
        ("DELETE FROM kaygraph_journal", r"its version is \[\]"),
    ],
)
def test_what_is_not_as_it_was_written_is_named(statement: str, message: str, place: Path) -> None:
    """Each table has checksums, and each run knows the least that it must have."""
    files, history = written(0)
    (place / "runs.db").write_bytes(files["runs.db"])
    with closing(sqlite3.connect(place / "runs.db")) as connection, connection:
        connection.execute(statement)
    with pytest.raises(JournalCorruptError, match=rf"runs.db' is damaged: {message}"):
        check(place / "runs.db", history)


def test_what_is_cached_and_not_as_it_was_written_is_not_there(place: Path) -> None:
    """It is not refused, because it can be computed again."""
    files, _ = written(0)
    (place / "runs.db").write_bytes(files["runs.db"])
    with closing(sqlite3.connect(place / "runs.db")) as connection, connection:
        connection.execute("UPDATE kaygraph_cache SET data = x'00'")
    store = SQLiteStore(place / "runs.db")
    assert store.cache_get(b"key") is None
    store.close()


def test_a_table_that_is_read_with_other_columns_is_refused(tmp_path: Path) -> None:
    """A changed byte in the schema can do that."""
    path = tmp_path / "journal.db"
    with closing(SQLiteStore(path)) as store:
        store.claim("a", "Import")
        connection = store._file._connection
        assert connection is not None
        connection.execute("ALTER TABLE kaygraph_runs ADD COLUMN more")
        with pytest.raises(JournalCorruptError, match="the table of runs has other columns"):
            store.info("a")
