"""Wiring in a notebook: a cell that runs again wires its nodes in the place of those before."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from kaygraph import Graph, Node


class A(Node):
    pass


class B(Node):
    def post(self, shared: Any, _: Any, __: Any) -> None:
        shared.setdefault("ran", []).append(self)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Begin the next cell."""
    shell = SimpleNamespace(execution_count=0)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))

    def begin() -> None:
        shell.execution_count += 1

    begin()
    return begin


def test_a_cell_that_runs_again_replaces_its_node(cell: Callable[[], None]) -> None:
    """Only the new one runs, and the warning says how to keep both."""
    a, old, new = A(), B(), B()
    a >> old
    graph = Graph(a)
    graph.run({})
    cell()
    with pytest.warns(UserWarning, match="replaces the one that an earlier cell wired"):
        a >> new
    graph.run(shared := {})
    assert shared["ran"] == [new]
    cell()
    with pytest.warns(UserWarning, match="replaces"):
        a >> B()
    assert len(a.successors["default"]) == 1


def test_a_class_that_is_made_again_is_the_same(cell: Callable[[], None]) -> None:
    """As the cell that defines it runs again as well."""
    a = A()
    for number in range(2):
        again = type("C", (B,), {"__module__": __name__, "__qualname__": "C"})
        if number:
            with pytest.warns(UserWarning, match="replaces"):
                a >> again()
        else:
            a >> again()
        cell()
    assert len(a.successors["default"]) == 1


def test_what_one_cell_wires_stays(cell: Callable[[], None]) -> None:
    """Two nodes of a class side by side are replaced together, when the cell runs again."""
    a = A()
    first = [B(), B()]
    a >> first
    assert a.successors["default"] == first
    cell()
    with pytest.warns(UserWarning, match="replaces"):
        a >> (second := [B(), B()])
    assert a.successors["default"] == second


def test_others_stay(cell: Callable[[], None]) -> None:
    """Those of another class, name or action, and the very same node."""
    a, b, other = A(), B(), A()
    a >> b
    a >> other
    cell()
    a >> b
    a >> B(name="mine")
    a - "again" >> B()
    assert [node.name for node in a.successors["default"]] == ["B", "A", "mine"]


def test_outside_of_a_notebook_nothing_is_replaced() -> None:
    """There are no cells."""
    a = A()
    a >> B()
    a >> B()
    assert len(a.successors["default"]) == 2
