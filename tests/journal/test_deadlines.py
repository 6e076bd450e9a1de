"""A run's deadline counts the time spent on it, in any process."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kaygraph import DeadlineExceededError, Graph, Journal, ParallelBatchNode
from kaygraph.journal import running
from kaygraph.journal.log import ALIVE, NOTED, Log


class Wait(ParallelBatchNode[int, int]):
    """Never ends."""

    def prep(self, shared: Any) -> list[int]:
        return [1]

    async def exec(self, item: int) -> int:
        await asyncio.Event().wait()
        return item


def log_of(*rows: tuple[float, list[list[Any]]]) -> Log:
    log = Log()
    for at, entries in rows:
        log.read(entries, at)
    return log


def test_time_between_processes_does_not_count() -> None:
    """The time from the first to the last row of each process counts."""
    note = [NOTED, b"", 0, b""]
    log = log_of(
        (100.0, [[ALIVE, True]]),
        (103.0, [note]),  # and then it was killed
        (500.0, [[ALIVE, True], note]),
        (501.5, [[ALIVE, False]]),  # and then it was interrupted
        (900.0, [[ALIVE, True]]),
        (900.5, [note]),
    )
    assert log.elapsed_s == pytest.approx(5.0)


def test_a_run_that_was_killed_has_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no time left it ends immediately, and says so."""
    path = tmp_path / "runs.db"
    with pytest.raises(DeadlineExceededError, match=r"ran longer than deadline=0\.01 s"):
        Graph(Wait(), name="g").run({}, journal=Journal(path, run="a"), deadline=0.01)
    later = running.log_of

    def with_an_hour(rows: Any) -> Log:
        log = later(rows)
        log.elapsed_s = 3600.0
        return log

    monkeypatch.setattr(running, "log_of", with_an_hour)
    with pytest.raises(DeadlineExceededError, match=r"3.6e\+03 s before it was resumed included"):
        Graph(Wait(), name="g").run({}, journal=Journal(path, run="a"), deadline=60)
