"""Snapshots: an endless loop is resumed in its middle, and its log stays short."""

from pathlib import Path
from typing import Any

import pytest

from kaygraph import Graph, Journal, Node
from kaygraph.errors import NotRecordableError, RunDivergedError


class KilledError(Exception):
    """Simulates a kill: nothing after it runs."""


class Tick(Node[int, int]):
    """Counts, and fails when it has counted to ``fails_at``."""

    fails_at = 0
    calls = 0

    def prep(self, shared: dict[str, Any]) -> int:
        return int(shared["count"])

    async def exec(self, count: int) -> int:
        type(self).calls += 1
        if count == self.fails_at:
            raise KilledError
        return count + 1

    def post(self, shared: dict[str, Any], prep_res: int, exec_res: int) -> str:
        shared["count"] = exec_res
        shared["seen"].append(exec_res)
        return "log"


class Log(Node[int, int]):
    """Ends the loop at 100."""

    def prep(self, shared: dict[str, Any]) -> int:
        return int(shared["count"])

    async def exec(self, count: int) -> int:
        return count

    def post(self, shared: dict[str, Any], prep_res: int, exec_res: int) -> str | None:
        return "again" if exec_res < 100 else None


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Count from the beginning."""
    Tick.calls, Tick.fails_at = 0, -1


def ticking(name: str = "Log") -> Graph:
    tick, log = Tick(), Log(name=name)
    tick - "log" >> log
    log - "again" >> tick
    return Graph(tick, name="ticking")


def journal(path: Path, **settings: Any) -> Journal:
    given = {"run": "ticks", "snapshot_every": 10, "accept": ["Tick"], **settings}
    return Journal(path / "runs.db", **given)


def store() -> dict[str, Any]:
    return {"count": 0, "seen": []}


def test_a_run_goes_on_from_its_last_snapshot(tmp_path: Path) -> None:
    """What was before it is not asked for; ``shared`` is restored."""
    Tick.fails_at = 47
    with pytest.raises(KilledError):
        ticking().run(store(), journal=journal(tmp_path))
    assert Tick.calls == 48

    Tick.fails_at, Tick.calls = -1, 0
    shared = store()
    resumed = journal(tmp_path)
    ticking().run(shared, journal=resumed)
    assert shared == {"count": 100, "seen": list(range(1, 101))}
    assert Tick.calls == 53
    assert resumed.replayed < 10


def test_the_log_stays_short(tmp_path: Path) -> None:
    """Rows before a snapshot are removed."""
    recorded = journal(tmp_path)
    ticking().run(store(), journal=recorded)
    assert len(recorded.show().points) <= 11
    with_all = journal(tmp_path, run="all", snapshot_every=None)
    ticking().run(store(), journal=with_all)
    assert len(with_all.show().points) == 200


def test_it_is_killed_again_and_again(tmp_path: Path) -> None:
    """Each time it continues where it was."""
    for end in range(5, 100, 7):
        Tick.fails_at = end
        with pytest.raises(KilledError):
            ticking().run(store(), journal=journal(tmp_path))
    Tick.fails_at = -1
    shared = store()
    ticking().run(shared, journal=journal(tmp_path))
    assert shared["seen"] == list(range(1, 101))
    assert Tick.calls == 100 + len(range(5, 100, 7))


def test_what_cannot_be_recorded_is_named(tmp_path: Path) -> None:
    """The first snapshot fails, rather than a resumed run."""
    with pytest.raises(NotRecordableError, match=r"(?i)the snapshot of shared"):
        ticking().run({**store(), "client": object()}, journal=journal(tmp_path))


def test_a_node_that_is_gone_is_named(tmp_path: Path) -> None:
    """The walk cannot begin where it was."""
    Tick.fails_at = 40  # the last snapshot is that before the 78th node: one of the others
    with pytest.raises(KilledError):
        ticking().run(store(), journal=journal(tmp_path, snapshot_every=11))
    with pytest.raises(RunDivergedError, match="the graph has no node of that name any more"):
        ticking("Renamed").run(store(), journal=journal(tmp_path, snapshot_every=11))
