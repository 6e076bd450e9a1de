"""Displays: bars and lines, of snapshots that are made up."""

import io
import sys

import pytest

from kaygraph.progress import displays
from kaygraph.progress.displays import Bars, Lines, display_here
from kaygraph.progress.screen import screen_of
from kaygraph.snapshot import NodeSnapshot, RunSnapshot, RunState, Waiting
from tests.terminal import at_terminal


def at(
    second: float, done: int, *waits: Waiting, state: RunState = "running", nodes: int = 1
) -> RunSnapshot:
    ended = state != "running"
    first = NodeSnapshot(
        "Fetch", state if ended else "running", items=done, ok=done, total=None if ended else 50,
        workers=4, seconds=second if ended else 0.0,
    )  # fmt: skip
    others = [NodeSnapshot(f"Node {number}", "finished") for number in range(2, nodes + 1)]
    return RunSnapshot("r", "crawl", second, state, second, (*others, first), waits=waits)


def test_bars_go_on_and_stay() -> None:
    """The last ones say how it has ended."""
    with at_terminal() as terminal:
        bars = Bars(screen_of(sys.stderr), leave=True)
        bars.show(at(0.0, 0))
        bars.show(at(1.0, 25))
        assert terminal.text == (
            "▸ crawl  1.0 s\n  ▸ Fetch  ━━━━━━━━━━━━────────────  25/50  1.0 s left  25/s"
        )
        bars.show(at(2.0, 50, state="finished"))
        bars.close()
        assert terminal.text == "✓ crawl  2.0 s\n  ✓ Fetch  50  in 2.0 s"


def test_a_run_that_fails_says_so() -> None:
    """With the nodes that had not ended."""
    with at_terminal() as terminal:
        bars = Bars(screen_of(sys.stderr), leave=True)
        bars.show(at(2.0, 5, state="failed"))
        bars.close()
        assert terminal.text == "✗ crawl  2.0 s  failed\n  ✗ Fetch  5  in 2.0 s"


def test_a_hook_that_holds_the_loop_is_reported_above_the_nodes() -> None:
    """It is not a node that waits: nothing goes on."""
    with at_terminal() as terminal:
        bars = Bars(screen_of(sys.stderr), leave=False)
        bars.show(
            at(2.0, 5, Waiting("crawl", "loop", 1, "flows.py:7", "the event loop is blocked"))
        )
        assert terminal.text.splitlines()[1] == "  the event loop is blocked"
        bars.close()


def test_where_there_are_too_many_nodes_those_that_run_are_shown() -> None:
    """And how many others there are."""
    with at_terminal() as terminal:
        bars = Bars(screen_of(sys.stderr), leave=True)
        bars.show(at(1.0, 5, nodes=100))
        lines = terminal.text.splitlines()
        assert len(lines) <= 23
        assert lines[-2].startswith("  ▸ Fetch")
        others = 102 - len(lines)
        assert lines[-1] == f"    and {others} other nodes: {others} finished"
        bars.close()
        assert len(terminal.text.splitlines()) <= 25


def test_lines_are_written_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of nodes that have gone on since; at the end one for each that counts."""
    now = [0.0]
    monkeypatch.setattr(displays, "monotonic", lambda: now[0])
    file = io.StringIO()
    lines = Lines(file, 5.0)
    for now[0] in range(1, 13):
        lines.show(at(now[0], min(20, int(2 * now[0]))))
    lines.show(at(12.5, 50, state="finished"))
    lines.close()
    assert file.getvalue().splitlines() == [
        "crawl: Fetch: 10/50, 20 s left, 2.0/s",
        "crawl: Fetch: 20/50, 15 s left, 2.0/s",
        "crawl: Fetch: 50 items, in 12 s",
        "crawl: finished after 12 s",
    ]


def test_a_log_has_no_line_for_each_of_a_thousand_nodes() -> None:
    """It says how many there are."""
    file = io.StringIO()
    lines = Lines(file, 5.0)
    nodes = [NodeSnapshot(f"N{n}", "finished", items=1, ok=1, workers=1) for n in range(1000)]
    lines.show(RunSnapshot("r", "crawl", 1.0, "finished", 1.0, tuple(nodes)))
    lines.close()
    assert len(file.getvalue().splitlines()) == 42
    assert "crawl: and 960 other nodes\n" in file.getvalue()


def test_what_nobody_reads_ends_nothing() -> None:
    """Neither a closed file nor a pipe."""
    file = io.StringIO()
    lines = Lines(file, 5.0)
    lines.show(at(1.0, 1))
    file.close()
    lines.close()


def test_the_place_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars in a terminal, lines elsewhere, nothing where there is no standard error."""
    with at_terminal():
        shown = display_here(leave=True, every=5.0)
        assert isinstance(shown, Bars)
        shown.close()
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(display_here(leave=True, every=5.0), Lines)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", None)
            assert display_here(leave=True, every=5.0) is None
