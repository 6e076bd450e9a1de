"""A run as a table in a cell of a notebook."""

from typing import Any
from xml.etree import ElementTree

import pytest

from kaygraph.progress.cell import MOST_ROWS, Cell, InCell, as_html, as_text
from kaygraph.progress.rows import Rows
from kaygraph.snapshot import NodeSnapshot, RunSnapshot, RunState, Waiting


def at(
    seconds: float, *nodes: NodeSnapshot, state: RunState = "running", waits: Any = ()
) -> RunSnapshot:
    return RunSnapshot("1", "crawl", 1000 + seconds, state, seconds, nodes, waits=tuple(waits))


FETCH = NodeSnapshot("Fetch <b>", "running", 1, total=40, items=12, ok=10, failed=2, in_flight=4)
STORE = NodeSnapshot("Store", "running", 1)


def cells_of(snapshot: RunSnapshot) -> list[list[str]]:
    """Return the text of the table's cells."""
    table = ElementTree.fromstring(as_html(snapshot, Rows().of(snapshot)))
    return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]


def test_each_node_has_a_row() -> None:
    """With a bar where it is known how many items there are."""
    assert cells_of(at(3, FETCH, STORE)) == [
        ["Fetch <b>", "30%", "12/40", "2 failed, 4 at once"],
        ["Store", "", "", "running"],
    ]


def test_front_ends_without_html_show_bars_of_text() -> None:
    """As a terminal does."""
    snapshot = at(3, FETCH)
    text = as_text(snapshot, Rows().of(snapshot))
    assert text.splitlines()[0] == "crawl  3.0 s  running"
    assert "━" in text.splitlines()[1]


def test_what_a_node_waits_for_stands_below_it() -> None:
    """And what holds the event loop, above all."""
    rows = Rows()
    held = Waiting("crawl", "loop", 1, "flows.py:7", "the loop is blocked by <hook>")
    waits = Waiting("Store", "rate", 1, "a rate", "Store waits for its rate")
    rows.of(at(0, STORE))
    snapshot = at(5, STORE, waits=[held, waits])
    html = as_html(snapshot, rows.of(snapshot))
    assert "<p>the loop is blocked by &lt;hook&gt;</p>" in html
    assert "Store waits for its rate" in html


def test_many_nodes_are_cut() -> None:
    """A table of thousands of rows would hold up the front end."""
    nodes = [NodeSnapshot(f"n{number}", "finished", runs=1) for number in range(MOST_ROWS + 7)]
    snapshot = at(3, *nodes, state="finished")
    html = as_html(snapshot, Rows().of(snapshot))
    assert html.count("<tr>") == MOST_ROWS
    assert "and 7 other nodes" in html


class Handle:
    """What IPython shows a table with."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def display(self, data: Any, raw: bool) -> None:
        self.calls.append("display")

    def update(self, data: Any, raw: bool) -> None:
        self.calls.append("update")


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Handle:
    made = Handle()
    monkeypatch.setattr(pytest.importorskip("IPython.display"), "DisplayHandle", lambda: made)
    return made


def test_there_is_one_table_that_is_written_anew(handle: Handle) -> None:
    """Not more often than a front end can draw it, but always at the end."""
    cell = Cell()
    for snapshot in (at(0, STORE), at(0.01, STORE), at(0.02, STORE, state="finished")):
        cell.show(snapshot)
    cell.close()
    assert handle.calls == ["display", "update"]


def test_a_run_that_has_not_begun_is_not_shown(handle: Handle) -> None:
    """Nor one that is over before it would be."""
    shown = InCell()
    shown.look()
    shown.close()
    assert handle.calls == []
