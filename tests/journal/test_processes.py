"""Several processes with one journal in SQLite, and a disk that is full."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from kaygraph import JournalLockedError
from kaygraph.journal.sqlite import SQLiteStore
from tests.children import child, python
from tests.journal.stores import folder

# Records one row after another, and prints each acknowledged number.
RECORDS = """
import sys
from kaygraph import JournalError
from tests.journal.stores import AtOnce, SQLiteStore

store = (SQLiteStore, AtOnce)[int(sys.argv[3])](sys.argv[1])
epoch = store.claim("a", "Graph").epoch
try:
    while True:
        print(store.append("a", epoch, b"x" * int(sys.argv[2])), flush=True)
except JournalError as error:
    print(type(error).__name__, error, flush=True)
"""


# Records its own runs, resumes them, removes and compacts, until it is killed.
WORKS = """
import os, random, sys
from tests.journal.stores import AtOnce

path, who, seed = sys.argv[1:]
chosen = random.Random(seed)
while True:
    store = AtOnce(path, durable=chosen.random() < 0.3)
    run = f"{who}-{chosen.randrange(3)}"
    info = store.claim(run, "Graph")
    for number in range(info.rows + 1, info.rows + 1 + chosen.randrange(200)):
        blob = b"%d of %s" % (number, run.encode()) + bytes(chosen.randrange(3000))
        assert store.append(run, info.epoch, blob) == number
        os.write(1, b"%s %d\\n" % (run.encode(), number))
    if chosen.random() < 0.2:
        large = store.claim(f"{who}-large", "Graph")
        store.append(large.run, large.epoch, bytes(50_000))
        store.remove([large.run])
        store.compact()
    store.close()
"""

# Whether rows are written at once if possible.
AT_ONCE = pytest.mark.parametrize("at_once", ["0", "1"], ids=["in the thread", "at once"])


def rows_and_error(output: str) -> tuple[list[int], str]:
    """Return the rows that a recording process printed, and the error it ended with."""
    *rows, error = output.splitlines()
    return [int(row) for row in rows], error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.mark.proofs
@pytest.mark.parametrize("seed", range(30))
def test_a_process_that_was_stopped_meanwhile_writes_nothing_more(seed: int, path: Path) -> None:
    """Another one has taken over its run; it gets that error when it continues."""
    with child(sys.executable, "-c", RECORDS, path, "700", str(seed % 2)) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        store = SQLiteStore(path, lock_timeout=0.05)
        epoch = _claim_from(process, store, random.Random(seed))
        before = store.info("a").rows
        for _ in range(3):
            store.append("a", epoch, b"of the new owner")
        process.send_signal(signal.SIGCONT)
        rows, error = rows_and_error(first + process.stdout.read())
    assert error.startswith("RunTakenOverError")
    assert rows == [*range(1, len(rows) + 1)]
    assert len(rows) in (before - 1, before)  # it may have been stopped before it printed
    blobs = [row.blob for row in store.rows("a")]
    assert blobs == [b"x" * 700] * before + [b"of the new owner"] * 3
    store.close()


def _claim_from(process: "subprocess.Popen[str]", store: SQLiteStore, chosen: random.Random) -> int:
    """Stop a process anywhere and claim its run; it may have been stopped in a transaction."""
    while True:
        time.sleep(chosen.uniform(0, 0.02))  # any moment: not what the test waits for
        process.send_signal(signal.SIGSTOP)
        try:
            return store.claim("a", "Graph").epoch
        except JournalLockedError:
            process.send_signal(signal.SIGCONT)


@pytest.mark.proofs
@pytest.mark.parametrize("seed", range(30))
def test_what_was_acknowledged_is_there_after_a_kill(seed: int, path: Path) -> None:
    """Row by row; at most the one not yet printed is there, too."""
    with child(sys.executable, "-c", RECORDS, path, "700", str(seed % 2)) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0, 0.1))  # anywhere
        process.kill()
        rows = len((first + process.stdout.read()).split("\n")) - 1
    store = SQLiteStore(path)
    assert [*store.rows("a")][-1].number == store.info("a").rows
    assert store.info("a").rows in (rows, rows + 1)
    store.close()


@pytest.mark.parametrize(
    ("seed", "kills"),
    [
        pytest.param(0, 20, marks=pytest.mark.proofs),
        *(pytest.param(seed, 150, marks=pytest.mark.soak) for seed in range(1, 11)),
    ],
)
def test_many_that_work_on_one_file_and_are_killed_lose_nothing(
    seed: int, kills: int, tmp_path: Path
) -> None:
    """Nor does any of them block another, or damage the file."""
    chosen, path, acknowledged = random.Random(seed), tmp_path / "runs.db", dict[str, int]()
    with ExitStack() as stack:
        working: dict[str, list[subprocess.Popen[str]]] = {who: [] for who in "abcd"}

        def begin(who: str) -> None:
            number = str(len(working[who]) * 100 + seed)
            output = stack.enter_context(Path(tmp_path, f"{who}{number}").open("w"))
            command = (sys.executable, "-c", WORKS, path, who, number)
            working[who].append(stack.enter_context(child(*command, stdout=output)))

        for who in working:
            begin(who)
        for _ in range(kills):
            time.sleep(chosen.uniform(0, 0.4))  # anywhere
            who = chosen.choice("abcd")
            process = working[who][-1]
            assert process.poll() is None, process.stderr and process.stderr.read()
            process.kill()
            process.wait()
            begin(who)
        for processes in working.values():
            processes[-1].kill()
            processes[-1].wait()
    for output in tmp_path.glob("[a-d][0-9]*"):
        for line in output.read_text().splitlines():
            run, number = line.split()
            acknowledged[run] = max(int(number), acknowledged.get(run, 0))
    store = SQLiteStore(path)
    for run, least in acknowledged.items():
        rows = [*store.rows(run)]
        assert len(rows) >= least
        assert all(row.blob.startswith(b"%d of %s" % (row.number, run.encode())) for row in rows)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert acknowledged


@AT_ONCE
def test_an_owner_that_writes_all_the_time_lets_others_in(path: Path, at_once: str) -> None:
    """A lock that is taken again at once is never free for others."""
    with child(sys.executable, "-c", RECORDS, path, "700", at_once) as process:
        assert process.stdout is not None
        process.stdout.readline()
        store = SQLiteStore(path, lock_timeout=1.0)
        for number in range(20):
            store.answer("a", f"Confirm {number}", b"yes")
        assert process.poll() is None
        store.close()


def test_two_that_make_one_file_at_once_make_it_once(path: Path) -> None:
    """The second process finds it made, at whatever point that is."""
    program = "import sys; from kaygraph.journal.sqlite import SQLiteStore as Store"
    program += "; sys.stdin.read(); Store(sys.argv[1]).claim(sys.argv[2], 'Graph')"
    names = ["a", "b", "c", "d"]
    begin = subprocess.PIPE
    with (
        child(sys.executable, "-c", program, path, "a", stdin=begin) as a,
        child(sys.executable, "-c", program, path, "b", stdin=begin) as b,
        child(sys.executable, "-c", program, path, "c", stdin=begin) as c,
        child(sys.executable, "-c", program, path, "d", stdin=begin) as d,
    ):
        for process in (a, b, c, d):
            assert process.stdin is not None
            process.stdin.close()
        for process in (a, b, c, d):
            assert process.stderr is not None
            assert process.stderr.read() == ""
    store = SQLiteStore(path)
    assert sorted(info.run for info in store.runs()) == names
    assert sorted(info.epoch for info in store.runs()) == [1, 2, 3, 4]
    store.close()


@AT_ONCE
def test_a_file_that_may_not_grow_acknowledges_nothing_more(path: Path, at_once: str) -> None:
    """As with a quota: acknowledged rows are there, and the error says where to look."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    rows, error = rows_and_error(
        python("-c", limited + RECORDS, path, "3000", at_once, check=True).stdout
    )
    assert error.startswith(f"JournalUnavailableError '{path}' cannot be written")
    assert "quota" in error
    store = SQLiteStore(path)
    assert len(rows) > 5
    assert [row.number for row in store.rows("a")] == rows
    store.close()


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    with folder() as place:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True
        )
        if mounted.returncode:
            pytest.skip("a file system of a few kilobytes can be mounted by root only")
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


@pytest.mark.proofs
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="it needs root")
@AT_ONCE
@pytest.mark.parametrize("size", ["200k", "2m", "6m"])
def test_a_full_disk_takes_nothing_that_was_acknowledged(size: str, at_once: str) -> None:
    """The error is reported; when there is space again, the run continues."""
    with small_disk(size) as place:
        path = place / "runs.db"
        rows, error = rows_and_error(
            python("-c", RECORDS, path, "3000", at_once, check=True).stdout
        )
        assert error.startswith("JournalFullError")
        assert "Free some space" in error
        subprocess.run(["mount", "-o", "remount,size=20m", place], check=True)
        store = SQLiteStore(path)
        assert [row.number for row in store.rows("a")] == rows
        assert store.append("a", store.claim("a", "Graph").epoch, b"more") == len(rows) + 1
        store.close()


@pytest.mark.proofs
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="it needs root")
@pytest.mark.parametrize("kilobytes", [4, 16, 32, 40, 48, 64, 80, 100])
def test_a_disk_that_is_full_from_the_beginning_is_reported(kilobytes: int) -> None:
    """Whether the file, its log or its index runs out of space."""
    with small_disk(f"{kilobytes}k") as place:
        printed = python("-c", RECORDS, place / "runs.db", "30000", "1").stdout
        assert printed.startswith("JournalFullError") or not printed  # by the claim, or before it
