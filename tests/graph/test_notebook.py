"""What a notebook asks of graphs, of lines of nodes, of outcomes and of reports."""

from typing import Any
from xml.etree import ElementTree

import pytest

from kaygraph import BatchGraph, Graph, Node, Outcome, RunReport, settle
from tests.children import python


def bundle(thing: Any, *asked: str) -> dict[str, str]:
    """Return what a notebook is given, which may ask for some types by name."""
    shown: dict[str, str] = thing._repr_mimebundle_(include=asked or None, exclude=None)
    return shown


def test_graph_is_drawn() -> None:
    """As SVG and as text, and nothing that a notebook would rather draw itself."""
    for graph in (Graph(Node(name="a") >> Node(name="b")), BatchGraph(Node(name="a"))):
        assert bundle(graph) == {"text/plain": repr(graph), "image/svg+xml": graph.to_svg()}


def test_what_has_parts_is_written_as_mermaid_when_that_is_asked_for() -> None:
    """``display(graph, include=["text/vnd.mermaid"])``."""
    graph = Graph(Node(name="a") >> Node(name="b"))
    assert bundle(graph, "text/vnd.mermaid")["text/vnd.mermaid"] == graph.to_mermaid()
    for thing in (Node(name="c") | Node(name="d"), settle(Node(name="c"), Node(name="d"))):
        written = bundle(thing, "text/vnd.mermaid")["text/vnd.mermaid"]
        assert f'["{thing.name}"]' in written
        assert '["d"]' in written


def test_line_is_drawn_before_it_is_a_graph() -> None:
    """With all that its first nodes lead to; also while it ends in an action."""
    a, b, c = Node(name="a"), Node(name="b"), Node(name="c")
    line = a >> [b, c]
    for one in (line, line - "done"):
        shown = bundle(one)
        assert shown["text/plain"] == repr(one)
        assert shown["image/svg+xml"] == Graph(a, name="Chain").to_svg()
    assert Graph(line).run() is None


@pytest.mark.parametrize("kind", ["pipeline", "group"])
def test_what_has_parts_is_drawn_by_itself(kind: str) -> None:
    """A pipeline and a group outside of a graph."""
    a, b = Node(name="a"), Node(name="b")
    thing = a | b if kind == "pipeline" else settle(a, b)
    drawing = bundle(thing)["image/svg+xml"]
    ElementTree.fromstring(drawing)
    assert f'data-node="{thing.name}/a"' in drawing


def test_what_cannot_be_drawn_is_shown_as_text() -> None:
    """A node without parts, a graph without a start, one that contains itself or is too large."""
    loop = Graph(name="loop")
    loop.__init__(Node() >> loop)  # type: ignore[misc]
    steps = [Node() for _ in range(2001)]
    for thing in (Node(name="a"), Graph(), loop, settle(loop), Graph(steps)):
        assert bundle(thing) == {"text/plain": repr(thing)}


def test_outcome_is_a_table() -> None:
    """Its values are written so that they cannot break the page, and without secrets."""
    shown = bundle(Outcome("Fetch", 3, "ok", {"token": "abcdef"}))
    assert "<td>Fetch</td><td>3</td><td>ok</td><td>{'token': ***}</td>" in shown["text/html"]
    failed = Outcome[None]("Fetch", 3, "failed", error=ValueError("<b>password=swordfish"))
    assert "ValueError: &lt;b&gt;password=***" in bundle(failed)["text/html"]
    assert bundle(failed)["text/plain"] == repr(failed)


def test_report_is_a_table_and_a_timeline() -> None:
    """A row for each node that worked, between the summary and the verdict; and the drawing."""

    class Work(Node[Any, Any]):
        def exec(self, _: Any) -> int:
            return 1

    report = RunReport()
    assert "<table>" in bundle(report)["text/html"]
    Graph(Work(name="one") >> Work(name="two")).run(observers=[report])
    shown = bundle(report)
    ElementTree.fromstring(shown["text/html"])
    assert "<tr><td>one</td><td>1</td><td>0</td><td>0</td><td>1</td>" in shown["text/html"]
    assert shown["text/plain"] == str(report)
    assert shown["image/svg+xml"] == report.to_svg()
    assert report.to_svg() in shown["text/html"]


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    """A run and its report need no drawing."""
    program = """
import sys
from kaygraph import Graph, Node, RunReport
graph = Graph(Node(name="a") >> Node(name="b"))
graph.run(observers=[RunReport()])
graph.to_mermaid()
print([name for name in sys.modules if "drawing" in name or "notebook" in name or "xml" in name])
graph._repr_mimebundle_()
print("kaygraph.drawing.svg" in sys.modules)
"""
    assert python("-c", program, check=True).stdout == "[]\nTrue\n"
