"""The run report on screens of several widths."""

import io

import pytest
from rich.console import Console

from examples.screen import report_lines
from kaygraph import Graph, Node, ParallelBatchNode, RunReport


class ReadsTheNamesOfAllPeople(Node):
    def exec(self, _: object) -> int:
        return sum(range(10**5))


class Looks(ParallelBatchNode):
    max_workers = 3

    def prep(self, shared: object) -> range:
        return range(1200)

    async def exec(self, number: int) -> int:
        return number


def drawn(width: int) -> str:
    """The report of a run with long names, on a screen of so many columns."""
    report = RunReport()
    inner = Graph(ReadsTheNamesOfAllPeople() >> Looks(), name="OfEachCompany")
    Graph(inner, name="people").run(observers=[report])
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    for line in report_lines(report, width):
        console.print(line)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_names_are_never_broken(width: int) -> None:
    """Columns without room are left out, and named; figures are not cut."""
    text = drawn(width)
    assert "    ReadsTheNamesOfAllPeople  " in text
    assert "1,200" in text
    assert max(map(len, text.splitlines())) <= width
    assert ("not shown at this width:" in text) == (width <= 60)
