"""``kaygraph draw``: typed in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import Typed
from tests.drawing.reading import read

FLOWS = """\
from kaygraph import Graph, Node

print("loaded")
first, second = Node(name="größer"), Node(name="second")
first >> second
graph = Graph(first, name="two")

def stages():
    return Node(name="a") | Node(name="b")

empty = Graph(name="empty")
"""


@pytest.fixture
def typed(command: Callable[..., Typed]) -> Typed:
    """Type a command in a folder with ``drawn_flows.py``; return its code and output."""
    return command("draw", flows=FLOWS, module="drawn_flows")


def test_a_graph_is_printed_as_svg(typed: Typed) -> None:
    """Whatever its module prints, and in whatever encoding it is read."""
    code, out, error = typed("drawn_flows.py:graph")
    assert (code, error) == (0, "loaded\n")
    assert out.isascii()
    assert list(read(out).nodes) == ["größer", "second"]
    assert typed("drawn_flows:graph", "-o", "-")[1] == out


def test_the_ending_of_the_file_says_what_is_written(typed: Typed) -> None:
    """SVG or Mermaid; nothing is printed."""
    assert typed("drawn_flows.py:graph", "-o", "two.svg")[:2] == (0, "")
    assert list(read(Path("two.svg").read_text(encoding="utf-8")).nodes) == ["größer", "second"]
    assert typed("drawn_flows.py:graph", "-o", "two.mmd")[:2] == (0, "")
    assert Path("two.mmd").read_text(encoding="utf-8").startswith("flowchart LR\n")
    code, _, error = typed("drawn_flows.py:graph", "-o", "two.png")
    assert code == 2
    assert error.startswith("error: -o must be a file name ending in .svg, or in .mmd for Mermaid")


def test_it_may_lead_down(typed: Typed) -> None:
    """For a narrow page."""
    wide, high = (
        read(typed("drawn_flows.py:graph", *words)[1]).paper
        for words in ((), ("--direction", "TB"))
    )
    assert wide.right - wide.left > wide.bottom - wide.top
    assert high.right - high.left < high.bottom - high.top


def test_what_is_no_graph_can_have_parts(typed: Typed) -> None:
    """A pipeline is drawn; as Mermaid only graphs are written."""
    code, out, _ = typed("drawn_flows.py:stages")
    assert code == 0
    assert list(read(out).nodes) == ["Pipeline/a", "Pipeline/b"]
    code, _, error = typed("drawn_flows.py:stages", "-o", "stages.mmd")
    assert code == 2
    assert "only a graph can be written as Mermaid" in error


def test_a_graph_that_cannot_work_is_an_error(typed: Typed) -> None:
    """With the reason."""
    code, out, error = typed("drawn_flows.py:empty")
    assert (code, out) == (1, "")
    assert "error: 'empty' has no start" in error
    code, _, error = typed("drawn_flows.py:grap")
    assert code == 2
    assert "Did you mean 'graph'?" in error


@pytest.mark.parametrize("name", ["no/such/folder.svg", "no/such/folder.mmd"])
def test_a_file_that_cannot_be_written_is_one_line(typed: Typed, name: str) -> None:
    """Without a traceback: the command is wrong."""
    code, out, error = typed("drawn_flows.py:graph", "-o", name)
    assert (code, out) == (2, "")
    assert error.endswith(f"error: cannot write -o {name}: No such file or directory\n")
    assert "Traceback" not in error
