"""Finds what is wrong with a store of runs: with its rows, its owners and its file."""

import os
import random
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from kaygraph import JournalError, JournalUnavailableError, RunTakenOverError
from kaygraph.errors import JournalCorruptError
from kaygraph.journal.sqlite import SQLiteStore
from tests.children import python
from tests.journal import test_damage as damage
from tests.journal.stores import Clock, folder, in_sqlite

LOOKS = "import sys; from kaygraph.journal.sqlite import SQLiteStore as Store"
LOOKS += "; store = Store(sys.argv[1]); print(store.info('a').rows); store.close()"


def what_is_damaged_is_a_beginning_or_refused() -> None:
    """Flipped bits, cut files: nothing is returned that was never written."""
    for seed in range(150):
        chosen = random.Random(seed)
        files, history = damage.written(0)
        with folder() as place, suppress(JournalError):
            for name, data in damage.damaged(files, chosen).items():
                Path(place, name).write_bytes(data)
            damage.check(Path(place, "runs.db"), history)


def what_is_missing_is_missed() -> None:
    """A row in the middle, and those that a run has had when it was finished."""
    for what, condition in (("the middle", "= 6"), ("the end", "> 9")):
        files, _ = damage.written(0)
        with folder() as place:
            path = Path(place, "runs.db")
            path.write_bytes(files["runs.db"])
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(f"DELETE FROM kaygraph_rows WHERE key % 4294967296 {condition}")
            store = SQLiteStore(path)
            try:
                numbers = [row.number for row in store.rows("import-1")]
            except JournalCorruptError:
                continue
            finally:
                store.close()
            raise AssertionError(f"rows of {what} are not missed: {numbers}")


def whoever_was_overtaken_writes_nothing() -> None:
    """Of a run that another has claimed, and of one that was made anew under its id."""
    with in_sqlite(Clock()) as opened, closing(opened()) as first, closing(opened()) as second:
        old = first.claim("a", "Graph").epoch
        first.append("a", old, b"1")
        second.claim("a", "Graph")
        with suppress(RunTakenOverError):
            first.append("a", old, b"2")
        with suppress(RunTakenOverError):
            first.finish("a", old, "done", None, None)
        info = second.info("a")
        assert (info.rows, info.status) == (1, "running"), "it has written after it was overtaken"
    with in_sqlite(Clock()) as opened, closing(opened()) as first, closing(opened()) as second:
        old = first.claim("a", "Graph").epoch
        second.remove(["a"])
        second.claim("a", "Graph")
        with suppress(RunTakenOverError):
            first.append("a", old, b"1")
        assert second.info("a").rows == 0, "it has written to a run that was made after its own"


def what_is_acknowledged_is_there() -> None:
    """Or it is not acknowledged, where something has dropped the locks of this process."""
    with folder() as place:
        path = Path(place, "runs.db")
        store = SQLiteStore(path)
        epoch = store.claim("a", "Graph").epoch
        path.read_bytes()
        python("-c", LOOKS, path, check=True)
        acknowledged = 0
        with suppress(JournalUnavailableError):
            acknowledged = store.append("a", epoch, b"1")
        rows = int(python("-c", LOOKS, path, check=True).stdout)
        store.close()
        assert rows == acknowledged, f"{acknowledged} acknowledged, {rows} there"


def what_is_acknowledged_at_once_is_there() -> None:
    """Or it is not acknowledged: to an owner that was overtaken, on a full disk, without a log."""
    for spoils in (_overtakes, _fills, _loses_its_log):
        with folder() as place:
            path = Path(place, "runs.db")
            store = SQLiteStore(path)
            epoch = store.claim("a", "Graph").epoch
            for _ in range(2):  # from then on rows are written at once
                number = store.append("a", epoch, b"1")
                assert store.append_at_once("a", epoch, b"1") is None or number == 2
            acknowledged = 3
            spoils(store)
            with suppress(JournalError):
                acknowledged += store.append_at_once("a", epoch, bytes(9000)) is not None
            rows = int(python("-c", LOOKS, path, check=True).stdout)
            store.close()
            assert rows == acknowledged, f"{acknowledged} acknowledged, {rows} there"


def _overtakes(store: SQLiteStore) -> None:
    with closing(SQLiteStore(store.path)) as other:
        other.claim("a", "Graph")


def _fills(store: SQLiteStore) -> None:
    connection = store._file._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


def _loses_its_log(store: SQLiteStore) -> None:
    store.path.read_bytes()
    python("-c", LOOKS, store.path, check=True)


def checkpoints_are_made_by_the_thread() -> None:
    """What is written at once is written to the log alone."""
    with folder() as place:
        path = Path(place, "runs.db")
        with closing(SQLiteStore(path)) as store:
            epoch, written = store.claim("a", "Graph").epoch, 0
            for _ in range(1500):
                before = path.stat().st_mtime_ns, path.stat().st_size
                if store.append_at_once("a", epoch, bytes(3000)) is None:
                    store.append("a", epoch, bytes(3000))
                    continue
                written += 1
                after = path.stat().st_mtime_ns, path.stat().st_size
                assert before == after, "the loop has made a checkpoint"
            assert written > 500


def a_child_that_opens_the_file_keeps_its_log() -> None:
    """Though its parent has had the file open before, and closes it."""
    with folder() as place:
        path = Path(place, "runs.db")
        store = SQLiteStore(path)
        begun, go_on = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            _in_child(path, begun[1], go_on[0])
        os.read(begun[0], 1)
        store.close()
        os.write(go_on[1], b"1")
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for end in (*begun, *go_on):
            os.close(end)
        assert code == 0, "the child has lost its log"


def _in_child(path: Path, begun: int, go_on: int) -> None:
    try:
        store = SQLiteStore(path)
        epoch = store.claim("a", "Graph").epoch
        os.write(begun, b"1")
        os.read(go_on, 1)
        store.append("a", epoch, b"1")
    except BaseException:
        os._exit(1)
    os._exit(0)
