"""The plans of random graphs, against searches that are slow and obviously right.

Set ``KAYGRAPH_EXAMPLES`` to try more graphs than the usual ones.
"""

import os
import random
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from kaygraph import Graph, Node
from tests.plain_plan import PlainPlan

EXAMPLES = int(os.environ.get("KAYGRAPH_EXAMPLES", "4000"))
ACTIONS = ("default", "default", "default", "x", "y", "error")


def assert_planned(starts: list[Node]) -> PlainPlan:
    """Check the plan of a graph; return what it has to be."""
    plan, plain = Graph(starts).plan, PlainPlan(starts)
    assert plan.back_edges == plain.back
    assert list(plan.steps) == plain.order
    assert [step.index for step in plan.steps.values()] == list(range(len(plain.order)))
    assert plan.joins() == plain.joins
    assert plan.loops == bool(plain.back)
    bits = {plan.steps[join].bit: join for join in plain.joins}
    assert sorted(bits) == [1 << number for number in range(len(bits))]

    def named(mask: int) -> set[Node]:
        return {join for bit, join in bits.items() if mask & bit}

    assert {node: named(step.forward) for node, step in plan.steps.items()} == plain.forward
    assert {node: named(step.mask) for node, step in plan.steps.items()} == plain.held
    return plain


def scattered(chance: random.Random) -> list[Node]:
    """Any edges between any nodes."""
    nodes = [Node() for _ in range(chance.randint(2, 14))]
    for _ in range(chance.randint(len(nodes), 3 * len(nodes))):
        chance.choice(nodes).next(chance.choice(nodes), chance.choice(ACTIONS))
    return chance.sample(nodes, chance.choice((1, 1, 1, 2, 3))) if len(nodes) > 2 else nodes


def line_with_loops(chance: random.Random) -> list[Node]:
    """A long line with forks and joins, and edges that lead back over a short or a long way."""
    nodes = [Node() for _ in range(chance.randint(4, 30))]
    for before, after in pairwise(nodes):
        before.next(after, chance.choice(ACTIONS))
    for _ in range(chance.randint(0, len(nodes))):
        first, last = sorted(chance.sample(range(len(nodes)), 2))
        first = max(first, last - chance.choice((1, 2, 3, len(nodes))))
        if chance.random() < 0.5:
            nodes[last].next(nodes[first], chance.choice(("x", "y", "default")))
        else:
            nodes[first].next(nodes[last], chance.choice(ACTIONS))
    return nodes[:1]


def diamonds(chance: random.Random) -> list[Node]:
    """Diamonds one after another, whose branches and joins send back to any place before."""
    first = last = Node()
    before = [first]
    for _ in range(chance.randint(1, 6)):
        branches = [[Node() for _ in range(chance.randint(1, 3))] for _ in range(2)]
        join = Node()
        for branch in branches:
            last >> branch[0]
            for one, other in zip([*branch], [*branch[1:], join], strict=True):
                one.next(other, chance.choice(ACTIONS))
        before += [*branches[0], *branches[1], join]
        for _ in range(chance.randint(0, 3)):
            chance.choice(before[-5:]).next(chance.choice(before), chance.choice(("x", "y")))
        last = join
    return [first]


def agent(chance: random.Random) -> list[Node]:
    """A node that decides, with tools that lead back to it and tools of their own."""
    start, other, join = Node(), Node(), Node()
    deciding = [Node()]
    start >> [deciding[0], other]
    other >> join
    for number in range(chance.randint(1, 8)):
        decide, tool = chance.choice(deciding), Node()
        decide.next(tool, f"tool {number}")
        tool.next(decide, chance.choice(("default", "x")))
        if chance.random() < 0.3:
            inner = Node()
            tool.next([inner, Node()], "y")
            [inner, *tool.successors["y"]] >> Node() >> tool
        deciding.append(tool)
    chance.choice(deciding).next(join, "done")
    if chance.random() < 0.5:
        join.next(chance.choice([start, other, *deciding]), "again")
    return [start]


@pytest.mark.parametrize("kind", [scattered, line_with_loops, diamonds, agent])
def test_plan_of_a_random_graph_is_what_plain_searches_find(
    kind: Callable[[random.Random], list[Node]],
) -> None:
    """Back edges, order, joins, what is reached and what is held up: all of it is the same."""
    found = {"back edges": 0, "joins": 0, "held from loops": 0, "not held in loops": 0}
    for seed in range(EXAMPLES // 4):
        try:
            plain = assert_planned(kind(random.Random(seed)))
        except AssertionError as error:
            error.add_note(f"{kind.__name__}, seed {seed}")
            raise
        found["back edges"] += len(plain.back)
        found["joins"] += len(plain.joins)
        for node in plain.order:
            found["held from loops"] += len(plain.held[node] - plain.forward[node])
        for source, target in plain.back:
            found["not held in loops"] += bool(plain.held[target] - plain.held[source] - {source})
    assert all(found.values()), found  # the graphs are such as put it to the test


def line(count: int) -> list[Node]:
    nodes = [Node() for _ in range(count)]
    for before, after in pairwise(nodes):
        before >> after
    return nodes


def unnamed(count: int) -> Node:
    return line(count)[0]


def reviewed(count: int) -> Node:
    """At every node a way back to the one before."""
    nodes = line(count)
    for before, after in pairwise(nodes):
        after - "again" >> before
    return nodes[0]


def restarted(count: int) -> Node:
    """At every node a way back to the start."""
    nodes = line(count)
    for node in nodes:
        node - "restart" >> nodes[0]
    return nodes[0]


def restarted_within(count: int) -> Node:
    """At every node of the second half a way back into one of two branches."""
    first, short, (long, *rest) = Node(), Node(), line(count)
    first >> [short, long]
    middle = rest[count // 2]
    short >> middle
    for node in rest[count // 2 :]:
        node - "restart" >> long
    return first


def reviewed_diamonds(count: int) -> Node:
    """Forks and joins one after another, each with a way back, and one back to the start."""
    first = last = Node()
    for _ in range(count // 3):
        b, c, join = Node(), Node(), Node()
        last >> [b, c] >> join
        join - "again" >> last
        last = join
    last >> Node() >> first
    return first


def tools(count: int) -> Node:
    """A node that decides, with many tools that lead back, next to a branch and before a join."""
    first, decide, other, join = (Node() for _ in range(4))
    first >> [decide, other]
    [decide - "done" >> join, other >> join]
    for number in range(count):
        decide - f"tool {number}" >> Node() >> decide
    return first


@pytest.mark.parametrize(
    "shape", [unnamed, reviewed, restarted, restarted_within, reviewed_diamonds, tools]
)
def test_planning_takes_time_in_proportion_to_the_nodes(shape: Callable[[int], Node]) -> None:
    """Ten times the nodes take about ten times as long: in a quadratic planner, a hundred."""

    def seconds(count: int) -> float:
        """Return the least processor time of three plans."""
        took = []
        for _ in range(3):
            graph = Graph(shape(count))
            started = time.process_time()
            assert graph.plan
            took.append(time.process_time() - started)
        return min(took)

    assert seconds(3000) < 30 * seconds(300)
