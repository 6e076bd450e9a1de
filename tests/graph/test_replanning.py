"""When a plan is found again: after one of its own nodes has been wired anew, and not else."""

import gc
import pickle
from copy import copy, deepcopy
from typing import Any

import pytest

from kaygraph import AsyncNode, Graph, GraphDefinitionError, compat, settle


class Append(AsyncNode):
    """Appends its name to ``shared``."""

    def post(self, shared: list[str], prep_res: Any, exec_res: Any) -> None:
        shared.append(self.name)


def nodes(names: str) -> list[Append]:
    return [Append(name=letter) for letter in names]


def ran(graph: Any) -> str:
    shared: list[str] = []
    graph.run(shared)
    return "".join(shared)


def test_wiring_elsewhere_leaves_the_plan() -> None:
    """Other graphs, and nodes that lead into this one, are no business of it."""
    a, b, c, d = nodes("abcd")
    graph = Graph(a >> b)
    plan = graph.plan
    c >> d
    d >> a
    assert graph.plan is plan
    assert ran(graph) == "ab"


def test_edge_that_is_there_already_leaves_the_plan() -> None:
    """Wiring the same again changes nothing."""
    a, b = nodes("ab")
    graph = Graph(a >> b)
    plan = graph.plan
    a >> b
    assert graph.plan is plan


@pytest.mark.parametrize("action", ["default", "error", "other"])
def test_new_edge_is_seen_by_every_graph_that_its_node_is_part_of(action: str) -> None:
    """A node may stand in several graphs."""
    a, b, c, d = nodes("abcd")
    graphs = [Graph(a >> b), Graph(b), Graph([c, b])]
    plans = [graph.plan for graph in graphs]
    b - action >> d
    for graph, plan in zip(graphs, plans, strict=True):
        assert plan.stale
        assert d in graph.plan.steps
    assert ran(graphs[0]) == ("abd" if action == "default" else "ab")


def test_new_edge_far_from_the_start_is_seen() -> None:
    """Also behind a named edge and in a loop."""
    a, b, c, d = nodes("abcd")
    a >> b
    b - "on" >> c
    c - "again" >> a
    graph = Graph(a)
    assert len(graph.plan.steps) == 3
    c >> d
    assert list(graph.plan.names.values()) == ["a", "b", "c", "d"]


def test_new_edge_in_an_inner_graph_is_seen_by_the_next_run_of_the_outer_one() -> None:
    """The inner graph finds its own plan again; that of the outer one holds."""
    a, b, c, d = nodes("abcd")
    inner = Graph(b)
    group = settle(Graph(c))
    outer = Graph(a >> inner >> group)
    assert ran(outer) == "abc"
    plan = outer.plan
    b >> d
    assert ran(outer) == "abdc"
    c >> Append(name="e")
    assert ran(outer) == "abdce"
    assert outer.plan is plan


def test_inner_graph_that_comes_to_contain_the_outer_one_is_refused() -> None:
    """Also when the outer one has been planned before."""
    a, b = nodes("ab")
    inner = Graph(b, name="inner")
    outer = Graph(a >> inner, name="outer")
    assert ran(outer) == "ab"
    b >> outer
    with pytest.raises(GraphDefinitionError, match="contains itself"):
        outer.validate()
    with pytest.raises(GraphDefinitionError, match="contains itself"):
        ran(outer)


def test_graph_that_cannot_work_is_refused_at_every_run() -> None:
    """No plan is kept that was not found to be right; and what is mended works."""
    a, b = Append(name="a"), Append(name="a")
    graph = Graph(a >> b)
    for _ in range(2):
        with pytest.raises(GraphDefinitionError, match="two nodes named"):
            ran(graph)
    outer = Graph(Append(name="o") >> graph)
    for _ in range(2):
        with pytest.raises(GraphDefinitionError, match="two nodes named"):
            ran(outer)


def test_nodes_wired_by_a_hook_are_there_for_the_next_run() -> None:
    """A run goes by the plan that it began with."""

    class Grow(Append):
        def post(self, shared: list[str], prep_res: Any, exec_res: Any) -> None:
            super().post(shared, prep_res, exec_res)
            if not self.successors:
                self >> Append(name="grown")

    graph = Graph(Grow(name="a"))
    assert ran(graph) == "a"
    assert ran(graph) == "agrown"


def pickled(graph: Any) -> Any:
    return pickle.loads(pickle.dumps(graph))


@pytest.mark.parametrize("copied", [pickled, deepcopy])
def test_copy_has_a_wiring_of_its_own(copied: Any) -> None:
    """What is wired in one of them is not seen in the other."""
    a, b, c, d = nodes("abcd")
    graph = Graph(a >> b)
    plan = graph.plan
    other = copied(graph)
    assert ran(other) == "ab"
    other_plan = other.plan
    next(iter(other.plan.steps)) >> c
    assert other_plan.stale
    assert not plan.stale
    assert ran(other) in ("abc", "acb")
    other_plan = other.plan
    b >> d
    assert not other_plan.stale
    assert ran(graph) == "abd"


def test_shallow_copy_shares_the_nodes_and_sees_what_is_wired() -> None:
    """``copy.copy(graph)`` is another graph of the same nodes."""
    a, b, c = nodes("abc")
    graph = Graph(a >> b)
    other = copy(graph)
    assert ran(other) == ran(graph) == "ab"
    b >> c
    assert ran(other) == ran(graph) == "abc"


def test_successors_can_be_pickled_by_themselves() -> None:
    """They go as a plain dict, without the plans of this process."""
    a, b = nodes("ab")
    graph = Graph(a >> b)
    assert graph.plan
    assert [node.name for node in pickled(a.successors)["default"]] == ["b"]
    assert type(deepcopy(a.successors)) is dict


def test_node_of_many_graphs_does_not_hold_on_to_their_plans() -> None:
    """A node that lives long may be part of one short-lived graph a request."""
    shared_node = Append(name="shared")
    kept = Graph(shared_node)
    plan = kept.plan
    for _ in range(1000):
        assert Graph(shared_node).plan.steps
    gc.collect()
    assert len(shared_node._successors._plans) < 20
    shared_node >> Append(name="next")
    assert plan.stale


def test_plans_that_are_stale_are_forgotten() -> None:
    """Of a graph that grows node by node only the last plan is remembered."""
    first = last = Append(name="0")
    graph, plans = Graph(first), []
    for number in range(100):
        plans.append(graph.plan)
        following = Append(name=f"{number + 1}")
        last >> following
        last = following
    assert len(graph.plan.steps) == 101
    assert all(plan.stale for plan in plans)
    assert len(first._successors._plans) < 20


def test_successor_replaced_in_the_manner_of_the_ancestors_is_seen() -> None:
    """There a second ``>>`` takes the place of the first."""

    class Step(compat.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared.append(self.node_id)

    a, b, c = (Step(node_id=letter) for letter in "abc")
    a >> b
    flow = compat.Flow(a)
    inner = compat.Flow(flow)
    assert ran(inner) == "ab"
    with pytest.warns(UserWarning, match="replaced"):
        a >> c
    assert ran(inner) == "ac"
    # The copy that runs in a flow is gone with the run, and its plan is not.
    assert flow._plan is not None
    assert not flow._plan.stale


def test_edge_that_is_taken_away_is_seen() -> None:
    """An action that is removed leads nowhere in the next plan."""
    a, b = nodes("ab")
    graph = Graph(a >> b)
    plan = graph.plan
    a._successors.remove("default")
    assert plan.stale
    assert ran(graph) == "a"
