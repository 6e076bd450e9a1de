"""Rows: what is shown of each node of a snapshot."""

from typing import Any

from kaygraph.progress.rows import Pace, Rows
from kaygraph.snapshot import NodeSnapshot, RunSnapshot, Waiting


def snapshot(at: float, *nodes: NodeSnapshot, **facts: Any) -> RunSnapshot:
    return RunSnapshot("r", "crawl", at, nodes=nodes, **facts)


def fetch(ok: int, **facts: Any) -> NodeSnapshot:
    return NodeSnapshot(**{"name": "Fetch", "state": "running", "running": 1, "items": ok + 2,
                           "ok": ok, "total": 100, "workers": 2, **facts})  # fmt: skip


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    """What was slow long ago does not count, and the rest follows from what is left."""
    rows = Rows()
    assert rows.of(snapshot(0.0, fetch(0)))[0].rate is None
    for second in range(1, 21):
        (row,) = rows.of(snapshot(float(second), fetch(second)))
    assert (row.rate, row.left_s) == (1.0, 80.0)
    for second in range(21, 35):
        (row,) = rows.of(snapshot(float(second), fetch(20 + 4 * (second - 20))))
    assert (row.rate, row.left_s) == (4.0, 24 / 4)


def test_a_count_that_falls_begins_again() -> None:
    """So that no rate is below nothing."""
    pace = Pace()
    pace.note(0.0, 10)
    assert pace.note(1.0, 3) is None
    assert pace.note(2.0, 5) == 2.0


def test_what_a_node_waits_for_is_shown_when_nothing_has_moved_for_a_second() -> None:
    """A node with progress is known by its rate."""
    waits = (Waiting("Fetch", "permit", 3, "permits", "Fetch waits: 2 of 2 permits are held"),)
    rows = Rows()
    assert rows.of(snapshot(0.0, fetch(0), waits=waits))[0].waits is None
    assert rows.of(snapshot(0.9, fetch(0), waits=waits))[0].waits is None
    assert rows.of(snapshot(1.0, fetch(0), waits=waits))[0].waits == waits[0].text
    assert rows.of(snapshot(1.1, fetch(1), waits=waits))[0].waits is None


def test_items_that_failed_are_done_as_well() -> None:
    """Waiting for the end counts everything that has ended."""
    (row,) = Rows().of(snapshot(0.0, fetch(5, failed=2, skipped=1, cancelled=2)))
    assert (row.done, row.failed, row.share) == (10, 2, 0.1)


def test_a_node_without_items_has_nothing_to_count() -> None:
    """Neither a node with one call nor a graph."""
    rows = Rows().of(snapshot(0.0, NodeSnapshot("Inner", "running"), fetch(0, name="Inner/Fetch")))
    assert [(row.counts, row.depth, row.name) for row in rows] == [
        (False, 0, "Inner"),
        (True, 1, "Fetch"),
    ]


def test_names_are_shown_without_secrets_and_control_characters() -> None:
    """They may come from data."""
    (row,) = Rows().of(snapshot(0.0, fetch(0, name="Get\n\x1b[2J token=abc")))
    assert row.name == "Get\\n\\x1b[2J token=***"


def test_nothing_runs_in_a_run_that_is_over() -> None:
    """A node without a reported end is left out."""
    rows = Rows().of(snapshot(0.0, NodeSnapshot("crawl", "running"), state="finished"))
    assert rows == []
