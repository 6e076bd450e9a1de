"""Runs in a SQLite file: what the file goes through, and the errors when it cannot be used."""

import os
import re
import sqlite3
import stat
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kaygraph import (
    JournalError,
    JournalFullError,
    JournalLockedError,
    JournalUnavailableError,
    RunTakenOverError,
)
from kaygraph.errors import JournalCorruptError, JournalVersionError
from kaygraph.journal import sqlite_file
from kaygraph.journal.opening import open_store
from kaygraph.journal.sqlite import AT_ONCE, SQLiteStore
from tests.children import python
from tests.journal.stores import folder

# Opens a file and records something, as a user without permissions.
AS_NOBODY = """
import os, sys
from kaygraph import JournalError
from kaygraph.journal.sqlite import AT_ONCE, SQLiteStore
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    SQLiteStore(sys.argv[1]).claim("a", "Graph")
except JournalError as error:
    print(type(error).__name__, error)
"""
# Another process that opens and closes the file.
LOOKS = "import sys; from kaygraph.journal.sqlite import SQLiteStore as Store"
LOOKS += "; store = Store(sys.argv[1]); print(store.info('a').rows); store.close()"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@contextmanager
def store(path: Path, **settings: Any) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(path, **settings)
    try:
        yield opened
    finally:
        opened.close()


def bytes_of(path: Path) -> int:
    """Return the sizes of a file and its log."""
    log = Path(f"{path}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


# --- the file ----------------------------------------------------------------------------------


def test_a_file_is_made_for_its_owner_alone(path: Path) -> None:
    """With its log, whatever the umask: it contains the data of a run."""
    with store(path) as opened:
        opened.claim("a", "Graph")
        modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {0o600}


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 1)])
def test_a_durable_one_waits_for_the_disk(path: Path, durable: bool, synchronous: int) -> None:
    """At each commit, and otherwise where the log is taken over into the file."""
    with store(path, durable=durable) as opened:
        connection = opened._file._connection
        assert connection is not None
        assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "ä?mode=ro#1.db", "file:x.db"])
def test_any_name_is_that_of_a_file(tmp_path: Path, name: str) -> None:
    """Whatever they mean in a url."""
    with store(tmp_path / name) as opened:
        opened.claim("a", "Graph")
    assert os.listdir(tmp_path) == [name]


def test_a_file_may_hold_other_tables_too(path: Path) -> None:
    """Those of the application, which stay as they are."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id)")
        connection.execute("PRAGMA user_version = 7")
    with store(path) as opened:
        epoch = opened.claim("a", "Graph").epoch
        assert opened.append("a", epoch, b"1") == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM orders").fetchall() == []
        assert connection.execute("PRAGMA user_version").fetchone() == (7,)
        assert connection.execute("PRAGMA application_id").fetchone() == (0,)


def test_rows_are_recorded_with_those_of_the_application(path: Path) -> None:
    """In one transaction of another connection: both or none, and under the same epoch."""
    with store(path) as opened, closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE orders (id)")
        epoch = opened.claim("a", "Graph").epoch
        opened.append("a", epoch, b"1")
        for end in ("COMMIT", "ROLLBACK"):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO orders VALUES (1)")
            opened.append_in(connection, "a", epoch, b"with an order")
            connection.execute(end)
        assert opened.append("a", epoch, b"3") == 3
        assert [row.blob for row in opened.rows("a")] == [b"1", b"with an order", b"3"]
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1,)
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(RunTakenOverError):
            opened.append_in(connection, "a", epoch + 1, b"of another owner")


def test_what_was_removed_is_given_back(path: Path) -> None:
    """The file and its log are smaller afterwards, also while another process has them open."""
    with store(path) as opened, store(path) as other:
        for run in ("a", "b"):
            epoch = opened.claim(run, "Graph").epoch
            for _ in range(60):
                opened.append(run, epoch, os.urandom(20_000))
        full = bytes_of(path)
        opened.forget("b", 55)
        opened.remove(["a"])
        opened.compact()
        assert bytes_of(path) < full / 8
        assert [row.number for row in other.rows("b")] == [*range(55, 61)]


def test_a_file_that_others_have_made_keeps_its_size(path: Path) -> None:
    """It may be large, and would have to be rewritten; free space is reused."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id)")
    with store(path) as opened:
        for run in ("a", "b", "c", "d"):
            epoch = opened.claim(run, "Graph").epoch
            for _ in range(60):
                opened.append(run, epoch, os.urandom(20_000))
            opened.remove([run])
            opened.compact()
        assert 1_000_000 < bytes_of(path) < 1_500_000


def test_a_file_that_is_read_meanwhile_shrinks_afterwards(path: Path) -> None:
    """The removal is done; the file keeps its size as long as the reader needs it."""
    with store(path) as opened:
        epoch = opened.claim("a", "Graph").epoch
        for _ in range(10):
            opened.append("a", epoch, os.urandom(100_000))
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM kaygraph_rows").fetchone()
            opened.remove(["a"])
            opened.compact()
            assert opened.runs() == []
            assert bytes_of(path) > 1_000_000
        opened.compact()
        assert bytes_of(path) < 100_000


# --- what cannot be used -----------------------------------------------------------------------


def text_file(path: Path) -> None:
    path.write_text("once upon a time\n" * 1000)


def short_file(path: Path) -> None:
    with store(path) as opened:
        opened.claim("a", "Graph")
    os.truncate(path, 5000)


def shorter_file(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + bytes(20))


def file_without_tables(path: Path) -> None:
    with store(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE kaygraph_journal")


def file_with_half_of_the_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE kaygraph_rows (id)")


def file_with_a_table_whose_name_is_no_text(path: Path) -> None:
    with store(path):
        pass
    data = path.read_bytes()
    data = data.replace(b"kaygraph_runskaygraph_runs", b"\xd4aygraph_runskaygraph_runs")
    path.write_bytes(data.replace(b"TABLE kaygraph_runs (", b"TABLE kaygraph_runs x"))


def newer_file(path: Path) -> None:
    with store(path):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE kaygraph_journal SET version = 2")


def folder_there(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (text_file, JournalCorruptError, "damaged: it is not a SQLite database.* another file"),
        (shorter_file, JournalCorruptError, "damaged: it is not a SQLite database"),
        (short_file, JournalCorruptError, "damaged: SQLite cannot read it.* a backup"),
        (
            file_without_tables,
            JournalCorruptError,
            r"damaged: tables are missing \(kaygraph_journal\)",
        ),
        (
            file_with_half_of_the_tables,
            JournalCorruptError,
            r"damaged: tables are missing \(.*kaygraph_runs\)",
        ),
        (file_with_a_table_whose_name_is_no_text, JournalCorruptError, "SQLite cannot read it"),
        (newer_file, JournalVersionError, "its version is 2, and.* knows 1.* Update kaygraph"),
        (folder_there, JournalUnavailableError, "is not a file"),
    ],
)
def test_what_is_no_journal_is_refused_and_left_as_it_is(
    path: Path, make: Any, error: type[Exception], text: str
) -> None:
    """The error names the file, and says what is wrong and what to do."""
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(error, match=rf"'{path}' .*{text}"):
        SQLiteStore(path)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_folder_that_is_missing_is_not_made(path: Path) -> None:
    """It may be misspelt."""
    with pytest.raises(
        JournalUnavailableError, match=r"there is no folder '.*/run'. Create it first"
    ):
        SQLiteStore(path.parent / "run" / "runs.db")


def test_a_file_is_not_made_by_those_who_only_look(path: Path) -> None:
    """They say so with create=False."""
    with pytest.raises(JournalUnavailableError, match=r"there is no journal at '.*/runs.db'"):
        open_store(path, create=False)
    assert not path.exists()


@pytest.mark.parametrize(
    ("of_folder", "of_file", "text"),
    [
        (0o777, 0o444, "cannot be written: attempt to write a readonly database.*permissions"),
        (0o555, 0o666, "cannot be .*permissions of the file and its folder"),
        (0o555, None, "cannot be created: Permission denied"),
        (0o777, 0o000, "cannot be opened: .*permissions of the file and its folder"),
        (0o000, 0o666, "cannot be opened: Permission denied"),
    ],
)
def test_what_may_not_be_written_is_reported(
    of_folder: int, of_file: int | None, text: str
) -> None:
    """And nothing is acknowledged."""
    with folder() as place:
        path = Path(place, "runs.db")
        if of_file is not None:
            with store(path):
                pass
            path.chmod(of_file)
        Path(place).chmod(of_folder)
        try:
            printed = python("-c", AS_NOBODY, path, check=True).stdout
        finally:
            Path(place).chmod(0o700)
    assert printed.startswith("JournalUnavailableError")
    assert re.search(text, printed), printed


def test_a_locked_file_is_waited_for_and_then_reported(path: Path) -> None:
    """Nothing is written, and the run continues when the lock is free."""
    with (
        store(path, lock_timeout=0.05) as opened,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        epoch = opened.claim("a", "Graph").epoch
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalLockedError, match=r"for 0.05 s .*Nothing was written"):
            opened.append("a", epoch, b"1")
        with pytest.raises(JournalLockedError, match=r"for 0.05 s"):
            opened.answer("a", "Confirm", b"yes")
        other.execute("ROLLBACK")
        assert opened.append("a", epoch, b"2") == 1


def test_an_exclusively_locked_file_is_reported_on_opening(path: Path) -> None:
    """As by a tool that works on it in exclusive mode."""
    with store(path) as opened:
        opened.claim("a", "Graph")
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalLockedError, match=r"was locked by another process for 0.05 s"):
            SQLiteStore(path, lock_timeout=0.05)


def test_a_full_disk_undoes_the_whole_transaction(path: Path) -> None:
    """SQLite ends it at the first failing statement; later ones are not committed alone."""
    with store(path) as opened:
        epoch = opened.claim("a", "Graph").epoch
        opened.append("a", epoch, b"1")
        before = opened.info("a"), [*opened.rows("a")]
        connection = opened._file._connection
        assert connection is not None
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        for write in (
            lambda: opened.append("a", epoch, bytes(50_000)),
            lambda: opened.set_input("a", epoch, bytes(50_000)),
            lambda: opened.finish("a", epoch, "failed", None, "x" * 50_000),
            lambda: opened.answer("a", "Confirm", bytes(50_000)),
        ):
            with pytest.raises(JournalFullError, match=r"the disk is full.*Free some space"):
                write()
            assert (opened.info("a"), [*opened.rows("a")]) == before
        assert opened.answers("a") == []
        connection.execute(f"PRAGMA max_page_count = {pages + 100}")
        assert opened.append("a", epoch, bytes(50_000)) == 2


# --- other processes ---------------------------------------------------------------------------


def test_a_log_that_was_removed_is_reported(path: Path) -> None:
    """A row that would be lost after a crash is not acknowledged, nor is any later one."""
    with store(path) as opened:
        epoch = opened.claim("a", "Graph").epoch
        path.read_bytes()  # its end drops the locks of this process
        python("-c", LOOKS, path, check=True)
        for _ in range(2):
            with pytest.raises(JournalUnavailableError, match=r"log was removed.*backup\(\)"):
                opened.append("a", epoch, b"1")


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.rename(f"{path}.old")])
def test_a_file_that_was_moved_is_reported(path: Path, lose: Any) -> None:
    """Anything recorded now would be lost with the file."""
    with store(path) as opened:
        epoch = opened.claim("a", "Graph").epoch
        lose(path)
        with pytest.raises(JournalUnavailableError, match="was moved or deleted"):
            opened.append("a", epoch, b"1")


def test_others_that_come_and_go_leave_the_log(path: Path) -> None:
    """Processes, and other connections of this one."""
    with store(path) as opened:
        epoch = opened.claim("a", "Graph").epoch
        for number in range(1, 4):
            opened.append("a", epoch, b"1")
            assert python("-c", LOOKS, path, check=True).stdout == f"{number}\n"
            with store(path) as other:
                assert other.info("a").rows == number


@dataclass
class Time:
    """Replaces the module: each look at the time, and each sleep, takes time."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        self.now += 0.0001
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_an_owner_that_writes_all_the_time_leaves_gaps(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One every 20 ms, which others see that poll every millisecond; none if it pauses anyway."""
    with store(path) as opened:
        epoch = opened.claim("a", "Graph").epoch
        time = Time()
        monkeypatch.setattr(sqlite_file, "time", time)
        time.now = opened._file._ended + 1
        while len(time.slept) < 3:
            opened.append("a", epoch, b"1")
        assert min(time.slept) > sqlite_file.POLL_S
        assert opened.info("a").rows == pytest.approx(3 * 0.02 / 0.0003, rel=0.4)
        for _ in range(100):
            time.now += 0.002
            opened.append("a", epoch, b"1")
        assert len(time.slept) == 3


def test_a_log_that_is_shortened_is_not_taken_for_a_damaged_one(path: Path) -> None:
    """Readers get an error that says to read it again."""
    with store(path) as opened, store(path) as reader:
        epoch = opened.claim("a", "Graph").epoch
        for _ in range(600):
            opened.append("a", epoch, b"1")
        rows = reader.rows("a")
        assert next(rows).number == 1
        opened.forget("a", 500)
        with pytest.raises(JournalUnavailableError, match="shortened while it was read"):
            list(rows)
        assert next(reader.rows("a")).number == 500


def test_a_child_of_a_fork_opens_the_file_anew(path: Path) -> None:
    """It closes what it inherited, which releases no lock of the parent's."""
    with store(path) as opened:
        epoch = opened.claim("a", "Graph").epoch
        begun, go_on = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            _in_child(path, opened, epoch, begun[1], go_on[0])
        assert os.read(begun[0], 1) == b"1"
        assert opened.append("a", epoch, b"of the parent") == 1
        assert opened.info("b").rows == 1
    assert (
        python("-c", LOOKS, path, check=True).stdout == "1\n"
    )  # the last one, except for the child
    os.write(go_on[1], b"1")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with store(path) as opened:
        assert [row.blob for row in opened.rows("b")] == [b"1", b"2"]


def _in_child(path: Path, inherited: SQLiteStore, epoch: int, begun: int, go_on: int) -> None:
    try:
        with pytest.raises(JournalError, match="Open the journal in this process, too"):
            inherited.append("a", epoch, b"of the child")
        inherited.close()
        own = SQLiteStore(path)
        epoch = own.claim("b", "Graph").epoch
        own.append("b", epoch, b"1")
        os.write(begun, b"1")
        os.read(go_on, 1)
        own.append("b", epoch, b"2")
        own.close()
    except BaseException:
        os._exit(1)
    os._exit(0)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_waits_for_what_other_threads_do_with_files(path: Path) -> None:
    """Opening, writing and closing: a child never inherits one half done."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            SQLiteStore(path).close()
            with store(path) as opened:
                epoch = opened.claim("a", "Graph").epoch
                for _ in range(5):
                    opened.append("a", epoch, b"1")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if not child:
                _record_in_child(path)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        ended.set()
        thread.join()
    with store(path) as opened:
        assert opened.info("of children").rows == 10
        assert len([*opened.rows("a")]) % 5 == 0


def _record_in_child(path: Path) -> None:
    try:
        with store(path) as opened:
            opened.append("of children", opened.claim("of children", "Graph").epoch, b"1")
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def test_a_closed_store_says_so(path: Path) -> None:
    """Closing it twice does nothing."""
    opened = SQLiteStore(path)
    opened.close()
    opened.close()
    with pytest.raises(JournalError, match="is closed"):
        opened.runs()


# --- rows that are written at once ---------------------------------------------------------------


@contextmanager
def ready(path: Path, **settings: Any) -> Iterator[tuple[SQLiteStore, int]]:
    """Open a store whose next row can be written at once; it has two."""
    with store(path, **settings) as opened:
        epoch = opened.claim("a", "Graph").epoch
        opened.append("a", epoch, b"1")
        assert opened.append_at_once("a", epoch, b"2") is None  # SQLite may make a checkpoint
        assert opened.append("a", epoch, b"2") == 2
        yield opened, epoch


def test_a_row_is_written_at_once_where_nothing_is_to_be_waited_for(path: Path) -> None:
    """It is like one written with ``append``, and others see it."""
    with ready(path) as (opened, epoch):
        assert [opened.append_at_once("a", epoch, b"%d" % n) for n in (3, 4)] == [3, 4]
        assert opened.append("a", epoch, b"5") == 5
        with store(path) as other:
            assert [row.blob for row in other.rows("a")] == [b"%d" % n for n in range(1, 6)]


def test_a_durable_row_is_never_written_at_once(path: Path) -> None:
    """It waits for the disk."""
    with store(path, durable=True) as opened:
        epoch = opened.claim("a", "Graph").epoch
        for number in range(1, 4):
            assert opened.append_at_once("a", epoch, b"1") is None
            assert opened.append("a", epoch, b"1") == number


def test_a_row_waits_for_no_lock_that_another_has(path: Path) -> None:
    """It is left to ``append``; the next one is written at once again."""
    with ready(path) as (opened, epoch), closing(sqlite3.connect(path)) as other:
        opened._file._lock_timeout = 60.0  # which must not be waited for
        other.execute("BEGIN IMMEDIATE")
        assert opened.append_at_once("a", epoch, b"3") is None
        other.execute("ROLLBACK")
        assert opened.append("a", epoch, b"3") == 3
        assert opened.append_at_once("a", epoch, b"4") == 4


def test_a_large_row_is_left_to_append(path: Path) -> None:
    """It takes a while."""
    with ready(path) as (opened, epoch):
        assert opened.append_at_once("a", epoch, bytes(AT_ONCE + 1)) is None
        assert opened.append("a", epoch, bytes(AT_ONCE + 1)) == 3


def test_a_row_that_may_not_be_the_next_is_left_to_append(path: Path) -> None:
    """That takes the next number, or refuses if the run belongs to another process."""
    with ready(path) as (opened, epoch), closing(sqlite3.connect(path)) as connection:
        with connection:
            assert opened.append_in(connection, "a", epoch, b"3") == 3
        assert opened.append_at_once("a", epoch, b"4") is None
        assert opened.append("a", epoch, b"4") == 4
        with store(path) as other:
            other.claim("a", "Graph")
        assert opened.append_at_once("a", epoch, b"5") is None
        with pytest.raises(RunTakenOverError):
            opened.append("a", epoch, b"5")
        assert opened.info("a").rows == 4


def test_a_full_disk_is_reported_at_once(path: Path) -> None:
    """Nothing is written; when there is space, the row is."""
    with ready(path) as (opened, epoch):
        connection = opened._file._connection
        assert connection is not None
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(JournalFullError, match="Free some space"):
            opened.append_at_once("a", epoch, bytes(50_000))
        assert opened.info("a").rows == 2
        connection.execute(f"PRAGMA max_page_count = {pages + 100}")
        assert opened.append_at_once("a", epoch, bytes(50_000)) == 3


@pytest.mark.parametrize("lose", ["unlink", "rename", "log"])
def test_a_file_that_is_not_there_any_more_is_reported_at_once(path: Path, lose: str) -> None:
    """Before the row is acknowledged, whether the file was moved or has lost its log."""
    with ready(path) as (opened, epoch):
        if lose == "log":
            path.read_bytes()  # its end drops the locks of this process
            python("-c", LOOKS, path, check=True)
        elif lose == "rename":
            path.rename(f"{path}.old")
        else:
            path.unlink()
        with pytest.raises(JournalUnavailableError, match="was removed or replaced"):
            opened.append_at_once("a", epoch, b"3")


def test_rows_that_are_written_at_once_leave_gaps_to_append(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sleeps, so that others get the lock; writing at once never does."""
    monkeypatch.setattr(sqlite_file, "CHECKPOINT_PAGES", 10**9)
    with ready(path) as (opened, epoch):
        time = Time()
        monkeypatch.setattr(sqlite_file, "time", time)
        time.now = opened._file._ended + 1
        left = 0
        for _ in range(1000):
            if opened.append_at_once("a", epoch, b"1") is None:
                assert len(time.slept) == left
                opened.append("a", epoch, b"1")
                left += 1
        assert len(time.slept) == left
        assert left == pytest.approx(1000 * 0.0003 / 0.02, rel=0.4)


def test_checkpoints_are_left_to_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file itself is written to by nothing else."""
    monkeypatch.setattr(sqlite_file, "GAP_EVERY_S", 1e9)
    with ready(path) as (opened, epoch):
        sizes = {path.stat().st_size}
        for number in range(3, 4000):
            before = path.stat().st_size
            if opened.append_at_once("a", epoch, bytes(500)) is None:
                assert opened.append("a", epoch, bytes(500)) == number
                sizes.add(path.stat().st_size)
            else:
                assert path.stat().st_size == before
        assert len(sizes) > 3
        assert Path(f"{path}-wal").stat().st_size < 4 * sqlite_file.CHECKPOINT_PAGES * 4120


def test_a_store_of_the_parent_writes_nothing_at_once(path: Path) -> None:
    """Neither does one that is closed."""
    with ready(path) as (opened, epoch):
        child = os.fork()
        if not child:
            try:
                with pytest.raises(JournalError, match="Open the journal in this process, too"):
                    opened.append_at_once("a", epoch, b"of the child")
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert opened.append_at_once("a", epoch, b"3") == 3
    with pytest.raises(JournalError, match="is closed"):
        opened.append_at_once("a", epoch, b"4")
