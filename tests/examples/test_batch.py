"""The batch example, over small files of our own and some of the standard library's."""

import asyncio
import gc
import hashlib
import logging
import multiprocessing
import os
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples.batch import FILES_A_CHUNK, WORKFLOW, measure, pools_table
from examples.sources import python_files
from examples.workflow import Options
from kaygraph import Event, ItemFinished, RunReport
from tests.children import python
from tests.examples.runs import run

pytestmark = pytest.mark.anyio

GOOD = b"class One:\n    def two(self):\n        async def three(): pass\n\nx = 1"
BAD = {
    "syntax.py": b"print 'two'\n",
    "bytes.py": b"name = '\xf6'\n",
    "null.py": b"x = 1\0\n",
    "coding.py": b"# coding: no-such-coding\n",
}


class Paper:
    """A screen that keeps what is printed on it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def print(self, *things: Any) -> None:
        self.lines += [line for thing in things for line in str(thing).splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two chunks and a bit of good files, four bad ones among them, and a file of other kind."""
    for number in range(2 * FILES_A_CHUNK):
        (tmp_path / f"good_{number:02}.py").write_bytes(GOOD)
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "notes.txt").write_text("not Python")
    return tmp_path


def shown(shared: dict[str, Any], report: RunReport) -> list[str]:
    paper = Paper()
    WORKFLOW.show(shared, report, paper)
    return paper.lines


# What is found


def test_every_file_is_accounted_for_once_and_a_bad_one_leaves_its_chunk(folder: Path) -> None:
    """Each .py file has one row, in order: its figures, or what is wrong with it."""
    shared, _ = run(WORKFLOW, Options(paths=str(folder), workers=3))
    rows = list(WORKFLOW.rows(shared))
    assert [row["path"] for row in rows] == sorted(str(path) for path in folder.glob("*.py"))
    good = [row for row in rows if "error" not in row]
    assert len(good) == 2 * FILES_A_CHUNK
    for row in good:
        assert row == {
            "path": row["path"],
            "sha256": hashlib.sha256(GOOD).hexdigest(),
            "bytes": len(GOOD),
            "lines": 5,
            "functions": 2,
            "classes": 1,
        }
    failed = {Path(row["path"]).name: row["error"] for row in rows if "error" in row}
    assert failed.keys() == BAD.keys()
    assert failed["syntax.py"].startswith("SyntaxError: Missing parentheses")
    assert failed["syntax.py"].endswith("(line 1)")
    assert all(set(row) == {"path", "error"} for row in rows if "error" in row)


def test_file_that_cannot_be_read_is_an_error_of_that_file(tmp_path: Path) -> None:
    """A file that has vanished is reported like one that does not parse."""
    assert measure(tmp_path / "gone.py")["error"].startswith("FileNotFoundError")


def test_totals_are_the_sums_of_the_rows(folder: Path) -> None:
    """The figures shown add up to those of the rows."""
    shared, report = run(WORKFLOW, Options(paths=str(folder)))
    rows = [row for row in WORKFLOW.rows(shared) if "error" not in row]
    for name in ("bytes", "lines", "functions", "classes"):
        assert shared["file_totals"][name] == sum(row[name] for row in rows) > 0
    text = "\n".join(shown(shared, report))
    good = 2 * FILES_A_CHUNK
    assert f"{good + 4} files: {good} measured, 4 that cannot be read or parsed" in text
    assert f"{5 * good} lines, {2 * good} functions, {good} classes" in text
    assert all(name in text for name in BAD)


@pytest.mark.proofs
def test_warnings_of_parsed_files_do_not_reach_the_screen(tmp_path: Path) -> None:
    """Warnings about code in a file are not shown to the user, in a thread or not."""
    (tmp_path / "doubtful.py").write_bytes(b"x = '\\d'\nprint(1 is 1, ()())\n")
    script = (
        "from examples.batch import WORKFLOW; from examples.workflow import Options\n"
        "if __name__ == '__main__':\n"
        f"    options = Options(paths={str(tmp_path)!r}, run_in='process', workers=1)\n"
        "    shared = WORKFLOW.prepare(options)\n"
        "    WORKFLOW.build(options).run(shared)\n"
        "    print(*('error' in row for row in WORKFLOW.rows(shared)))\n"
    )
    done = python("-W", "always", "-c", script, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


# Pools


def test_threads_are_shown_alone_unless_processes_are_asked_for(folder: Path) -> None:
    """A run in threads shows no comparison, and says how to get one."""
    shared, report = run(WORKFLOW, Options(paths=str(folder)))
    lines = shown(shared, report)
    assert "Processes" not in report.nodes
    assert any(line.startswith("Threads: ") for line in lines)
    assert "--run-in process" in lines[-1]


@pytest.mark.proofs
def test_processes_find_the_same_and_all_pools_are_measured(folder: Path) -> None:
    """Every pool does all chunks, they agree, and the table has the wall time of each.

    That the class is imported by name in another interpreter is part of what is tested.
    """
    in_threads, _ = run(WORKFLOW, Options(paths=str(folder)))
    shared, report = run(WORKFLOW, Options(paths=str(folder), run_in="process", workers=2))
    assert list(WORKFLOW.rows(shared)) == list(WORKFLOW.rows(in_threads))
    pools = [report.nodes[name] for name in ("One", "Threads", "Processes")]
    for pool in pools:
        assert pool.items["ok"] == sum(load.items for load in pool.workers.values()) == 3
        assert 0 < pool.work_s <= 2 * pool.wall_s
    assert [len(pool.workers) for pool in pools] == [1, 2, 2]
    assert sum(pool.wall_s for pool in pools) <= report.wall_s
    text = "\n".join(shown(shared, report))
    one, threads, processes = (pool.wall_s for pool in pools)
    assert f"Processes: {one / processes:.2f} times as fast as one worker" in text
    assert f"Threads: {one / threads:.2f} times" in text
    table = pools_table(shared, report)
    assert [*table.columns[0].cells] == ["one worker", "2 threads", "2 processes"]
    assert [*table.columns[1].cells] == [f"{pool.wall_s:.2f}" for pool in pools]
    assert [*table.columns[3].cells] == [f"{one / pool.wall_s:.2f}" for pool in pools]


@pytest.mark.proofs
def test_a_cluster_finds_the_same(folder: Path) -> None:
    """One that the run starts, in the place of the processes."""
    in_threads, _ = run(WORKFLOW, Options(paths=str(folder)))
    shared, report = run(WORKFLOW, Options(paths=str(folder), run_in="dask", workers=2))
    assert list(WORKFLOW.rows(shared)) == list(WORKFLOW.rows(in_threads))
    assert report.nodes["Dask"].items["ok"] == 3
    assert "Dask's workers" in [*pools_table(shared, report).columns[0].cells]
    assert "Dask: " in "\n".join(shown(shared, report))


def test_a_busy_machine_is_reported(folder: Path) -> None:
    """Where a worker had no processor for a third of its time, the comparison says little."""
    shared, report = run(WORKFLOW, Options(paths=str(folder), run_in="process"))
    one = report.nodes["One"]
    for cpu_s, was_busy in ((one.wall_s, False), (one.wall_s / 2, True)):
        one.cpu_s = cpu_s
        assert ("The machine was busy" in "\n".join(shown(shared, report))) == was_busy


@pytest.mark.proofs
def test_the_sample_is_spread_over_the_standard_library() -> None:
    """A hundred files or two, of all of it; a limit takes the first so many."""
    every = python_files(Options())
    sample = WORKFLOW.prepare(Options())["files"]
    assert len(every) > 5 * len(sample) > 500
    assert sample[0] == every[0]
    assert every.index(sample[-1]) > 0.9 * len(every)
    assert WORKFLOW.prepare(Options(limit=7))["files"] == every[:7]


async def test_cancelling_leaves_no_process_no_thread_and_no_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that is cancelled while processes work has ended them when it is over, quietly."""
    for number in range(20 * FILES_A_CHUNK):
        (tmp_path / f"{number}.py").write_text("x = [" + "1, " * 1_000 + "]\n")
    before = threading.active_count()
    options = Options(paths=str(tmp_path), run_in="process", workers=2)
    working = asyncio.Event()

    def watch(event: Event, /) -> None:
        if isinstance(event, ItemFinished) and event.node == "Processes":
            working.set()

    graph = WORKFLOW.build(options)
    task = asyncio.create_task(graph.run_async(WORKFLOW.prepare(options), observers=[watch]))
    await working.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert multiprocessing.active_children() == []
    assert threading.active_count() == before
    del task
    gc.collect()  # an error that nobody asked for is logged when it is collected
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


# Which files


def test_standard_library_is_found_whole_and_alone() -> None:
    """Every .py file below the standard library is there, and no installed package."""
    root = sysconfig.get_paths()["stdlib"]
    expected = []
    for path, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in ("site-packages", "dist-packages")]
        expected += [Path(path, name) for name in names if name.endswith(".py")]
    assert python_files(Options()) == sorted(expected)
    assert python_files(Options(limit=7)) == sorted(expected)[:7]


@pytest.mark.parametrize(
    ("named", "count"),
    [
        (lambda folder: folder, 2 * FILES_A_CHUNK + 4),
        (lambda folder: folder / "good_01.py", 1),
        (lambda folder: folder / "notes.txt", 1),
        (lambda folder: folder / "good_0*.py", 10),
        (lambda folder: folder / "**" / "null.py", 1),
    ],
)
def test_paths_may_be_a_directory_a_file_or_a_glob(
    folder: Path, named: Callable[[Path], Path], count: int
) -> None:
    """A directory means its Python files; a file and a glob mean themselves."""
    assert len(python_files(Options(paths=str(named(folder))))) == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(paths="no/such/*.py"), "no/such"),
        (Options(limit=0), "at least 1, got 0"),
        (Options(run_in="cloud"), "'process' or 'dask', got 'cloud'"),
        (Options(workers=0), "--workers must be at least 1, got 0"),
    ],
)
def test_options_that_cannot_be_followed_are_refused_in_one_line(
    options: Options, message: str
) -> None:
    """The error comes before anything runs."""
    with pytest.raises(ValueError, match=message) as refused:
        WORKFLOW.prepare(options)
    assert "\n" not in str(refused.value)
