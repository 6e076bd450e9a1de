"""Graphs within graphs, many levels deep: nobody recurses, and each is looked at once."""

from collections.abc import Callable
from typing import Any

import pytest

from kaygraph import AsyncNode, BatchGraph, Graph, GraphDefinitionError, Node, settle
from kaygraph.testing import Faults

DEEP = 2000  # Python's limit is a thousand calls


class Count(AsyncNode):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["count"] = shared.get("count", 0) + 1


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> list[dict[str, Any]]:
        return [{}]


def nested(levels: int, inmost: Any = None) -> Graph:
    graph = Graph(inmost or Count())
    for _ in range(levels):
        graph = Graph(Count() >> graph)
    return graph


def test_deep_graph_is_planned_drawn_shown_and_wrapped() -> None:
    """Every graph within is part of it."""
    graph = nested(DEEP)
    graph.validate()
    assert len(graph.plan.steps) == 2
    assert graph.to_mermaid().count("subgraph") == DEEP
    assert repr(graph) == "<Graph Count → Graph>"
    wrapped = Faults().wrap(graph)
    assert wrapped.to_mermaid() == graph.to_mermaid()


@pytest.mark.parametrize("observers", [[], [lambda _: None]], ids=["unobserved", "observed"])
@pytest.mark.parametrize("kind", [Graph, Rounds])
def test_deep_graph_runs(kind: Callable[[Any], Graph], observers: Any) -> None:
    """Deeper than calls may go in Python, of which a level takes four to fifteen."""
    shared: dict[str, int] = {}
    graph: Graph = Graph(Count())
    for _ in range(DEEP // 4):
        graph = kind(Count() >> graph)
    Graph(graph, slow_hook_s=60, deadline=60).run(shared, observers=observers)
    assert shared["count"] == DEEP // 4 + 1


def test_error_at_the_bottom_of_a_deep_graph_is_found() -> None:
    """Before anything runs, and at each try."""
    graph = nested(DEEP, Node(name="a") >> Node(name="a"))
    for check in (graph.validate, graph.validate, graph.run):
        with pytest.raises(GraphDefinitionError, match="'Graph' has two nodes named 'a'"):
            check()


def test_deep_graph_that_contains_itself_is_refused() -> None:
    """However many levels the circle has."""
    last = Count()
    graph = nested(DEEP, last)
    last >> graph
    with pytest.raises(GraphDefinitionError, match="contains itself"):
        graph.validate()


def shared_twice(levels: int) -> Graph:
    """Each graph holds the one below in two places, directly and in a group."""
    graph = Graph(Count())
    for _ in range(levels):
        graph = Graph(Count() >> Graph(graph) >> settle(graph, Count() >> graph))
    return graph


def test_graph_that_stands_in_many_places_is_looked_at_once() -> None:
    """Fifty levels of three places each would otherwise never end."""
    graph = shared_twice(50)
    graph.validate()
    assert graph.plan.valid


def test_same_graph_in_two_places_is_not_within_itself() -> None:
    """Next to each other, it may occur any number of times."""
    inner = Graph(Count())
    graph = Graph(Graph(inner) >> Graph(inner) >> settle(inner, inner))
    shared: dict[str, int] = {}
    graph.run(shared)
    assert shared["count"] == 4


@pytest.mark.parametrize("around", [Graph, settle, lambda graph: settle(Count() >> graph)])
def test_graph_without_a_start_is_refused_wherever_it_stands(
    around: Callable[[Any], Any],
) -> None:
    """Before anything runs: it could never be walked."""
    graph = Graph(Count() >> around(Graph(name="empty")))
    for check in (graph.validate, graph.run):
        with pytest.raises(GraphDefinitionError, match="'empty' has no start"):
            check()


def test_inner_graph_is_validated_with_the_outer_one_and_not_again() -> None:
    """A walk asks for the plans of inner graphs, and finds them."""
    inner = Graph(Count())
    outer = Graph(inner)
    outer.validate()
    assert inner._plan is not None
    assert inner._plan.valid
