"""What is known of a graph before it runs: edges, joins, masks, order, names."""

import random
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import Graph, GraphDefinitionError, Node, compat, settle
from kaygraph.graph.plan import Plan
from tests.children import python


def nodes(names: str) -> list[Node]:
    """Return a node for each letter."""
    return [Node(name=letter) for letter in names]


def plan(start: Any) -> Plan:
    return Graph(start).plan


def joins(start: Any) -> list[str]:
    return [node.name for node in plan(start).joins()]


def back_edges(start: Any) -> set[tuple[str, str]]:
    return {(source.name, target.name) for source, target in plan(start).back_edges}


def reached(found: Plan) -> dict[str, set[str]]:
    """Return which joins each node can reach, read from the masks."""
    bits = {step.bit: node.name for node, step in found.steps.items() if step.bit}
    return {
        node.name: {name for bit, name in bits.items() if step.forward & bit}
        for node, step in found.steps.items()
    }


# --- edges and joins -----------------------------------------------------------------------------


def test_diamond_has_one_join_that_the_branches_reach() -> None:
    """In `a >> [b, c] >> d` d is the join; a, b and c can reach it, d cannot."""
    a, b, c, d = nodes("abcd")
    chain = a >> [b, c] >> d
    assert joins(chain) == ["d"]
    assert back_edges(chain) == set()
    assert reached(plan(chain)) == {"a": {"d"}, "b": {"d"}, "c": {"d"}, "d": set()}


def test_edge_from_the_fan_out_straight_into_a_branch_makes_a_join() -> None:
    """In `a >> [b, c]; b >> c` c has two predecessors."""
    a, b, c = nodes("abc")
    a >> [b, c]
    b >> c
    assert joins(a) == ["c"]


def test_back_edge_makes_no_join() -> None:
    """A loop back to a node does not make it wait for itself."""
    a, b, c = nodes("abc")
    a >> b >> c
    c - "again" >> b
    b - "self" >> b
    c - "first" >> a
    assert back_edges(a) == {("c", "b"), ("b", "b"), ("c", "a")}
    assert joins(a) == []


def test_edge_that_skips_ahead_is_a_forward_edge() -> None:
    """`a - "skip" >> c` with `a >> b >> c` leads forward, and c is a join."""
    a, b, c = nodes("abc")
    a >> b >> c
    a - "skip" >> c
    assert back_edges(a) == set()
    assert joins(a) == ["c"]


def test_edge_between_two_branches_is_a_forward_edge() -> None:
    """A cross edge closes no loop."""
    a, b, c, d = nodes("abcd")
    a >> [b, c] >> d
    b - "help" >> c
    assert back_edges(a) == set()
    assert joins(a) == ["c", "d"]


def test_error_edges_and_named_edges_count_for_reachability() -> None:
    """A join that can only be reached over an action is still within reach."""
    a, b, c, d = nodes("abcd")
    a >> [b, c]
    c >> d
    b - "error" >> d
    assert reached(plan(a))["b"] == {"d"}


def test_masks_reach_over_joins() -> None:
    """A join that lies behind another one is within reach as well."""
    a, b, c, d, e, f, g = nodes("abcdefg")
    a >> [b, c] >> d >> [e, f] >> g
    assert reached(plan(a))["a"] == {"d", "g"}
    assert reached(plan(a))["d"] == {"g"}


def test_start_among_several_that_another_leads_to_is_a_join() -> None:
    """Several starts come from one fork: one that another leads to waits for it."""
    a, b, c = nodes("abc")
    a >> b >> c
    assert joins([a, b]) == ["b"]
    assert joins([a, c]) == ["c"]
    assert joins([a, a]) == []


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[dict[str, list[str]], list[str]]:
    """Return the successors of each node, all of which can be reached, and the starts."""
    names = "abcdefgh"[: draw(st.integers(2, 8))]
    edges = [(names[draw(st.integers(0, at - 1))], names[at]) for at in range(1, len(names))]
    pick = st.sampled_from(names)
    edges += draw(st.lists(st.tuples(pick, pick), max_size=2 * len(names)))
    edges = draw(st.permutations(edges))
    successors: dict[str, list[str]] = {name: [] for name in names}
    for source, target in dict.fromkeys(edges):
        successors[source].append(target)
    return successors, list(dict.fromkeys([names[0], *draw(st.lists(pick, max_size=1))]))


def _planned(successors: dict[str, list[str]], starts: list[str]) -> Plan:
    made = {name: Node(name=name) for name in successors}
    for source, targets in successors.items():
        for target in targets:
            made[source] >> made[target]
    return plan([made[name] for name in starts])


def _searched(
    successors: dict[str, list[str]], starts: list[str], seed: int
) -> frozenset[tuple[str, str]]:
    """Return the back edges that a plain depth-first search finds in a random order."""
    shuffled = random.Random(seed)
    found: set[tuple[str, str]] = set()
    done: set[str] = set()

    def visit(node: str, path: tuple[str, ...]) -> None:
        done.add(node)
        for target in shuffled.sample(successors[node], len(successors[node])):
            if target in (*path, node):
                found.add((node, target))
            elif target not in done:
                visit(target, (*path, node))

    for start in starts:
        if start not in done:
            visit(start, ())
    return frozenset(found)


def _reach(successors: dict[str, set[str]], source: str) -> set[str]:
    seen: set[str] = set()
    todo = list(successors[source])
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += successors[node]
    return seen


def _is_entry(
    successors: dict[str, list[str]], starts: list[str], source: str, target: str
) -> bool:
    """Whether every way from the starts to ``source`` leads over ``target``."""
    around = {name: set(targets) - {target} for name, targets in successors.items()}
    reached_without = {start for start in starts if start != target}
    for start in list(reached_without):
        reached_without |= _reach(around, start)
    return source == target or source not in reached_without


@settings(deadline=None, derandomize=True, max_examples=200)
@given(_graphs())
def test_plan_of_a_random_graph_is_what_a_plain_search_finds(
    graph: tuple[dict[str, list[str]], list[str]],
) -> None:
    """Back edges, order, joins and masks agree with a search that is written the slow way."""
    successors, starts = graph
    found = _planned(successors, starts)
    back = {(source.name, target.name) for source, target in found.back_edges}
    forward = {
        source: {target for target in targets if (source, target) not in back}
        for source, targets in successors.items()
    }
    order = [node.name for node in found.steps]
    assert sorted(order) == sorted(successors)
    assert [step.index for step in found.steps.values()] == list(range(len(order)))
    for source, targets in forward.items():  # topological, so there is no cycle
        assert all(order.index(source) < order.index(target) for target in targets)
    for source, target in back:
        assert source == target or source in _reach(forward, target)
    answers = {_searched(successors, starts, seed) for seed in range(8)}
    if all(_is_entry(successors, starts, *edge) for answer in answers for edge in answer):
        assert answers == {frozenset(back)}  # each loop has one way in: any search finds the same

    before = {name: {s for s, targets in forward.items() if name in targets} for name in forward}
    expected = {
        name for name in order if len(before[name]) + (len(starts) > 1 and name in starts) > 1
    }
    assert {node.name for node in found.joins()} == expected
    assert reached(found) == {name: _reach(forward, name) & expected for name in order}


def test_token_in_a_loop_holds_up_the_join_outside_of_it() -> None:
    """`search` leads only back to `decide`, and yet what follows `decide` has to wait for it."""
    a, decide, search, other, join = (Node(name=n) for n in ("a", "decide", "search", "o", "join"))
    a >> [decide, other]
    decide - "search" >> search >> decide
    [decide - "done" >> join, other >> join]
    steps = plan(a).steps
    assert steps[search].forward == 0
    assert steps[search].mask == steps[join].bit


def test_token_past_a_join_does_not_hold_it_up_for_the_next_round() -> None:
    """Within its loop a join waits for this round alone: `x` leads to it only in the next."""
    a, b, c, d, x, e = nodes("abcdxe")
    a >> [b, c] >> d >> e
    a >> x >> e
    e - "again" >> a
    steps = plan(a).steps
    assert not steps[x].mask & steps[d].bit
    assert steps[x].mask == steps[e].bit


def test_edge_nearer_to_the_start_is_the_forward_one() -> None:
    """`d - "again"` leads back, to whichever of the two branches of the diamond."""
    for number in (0, 1):
        a, b, c, d = nodes("abcd")
        a >> [b, c] >> d
        d - "again" >> (b, c)[number]
        assert back_edges(a) == {("d", "bc"[number])}


# --- what cannot work ----------------------------------------------------------------------------


def test_graph_without_a_start_is_refused() -> None:
    """The error says how to give it one."""
    with pytest.raises(GraphDefinitionError, match="'Graph' has no start: pass its first node"):
        Graph().validate()
    with pytest.raises(GraphDefinitionError, match="has no start"):
        Graph().run()
    with pytest.raises(GraphDefinitionError, match="'inner' has no start"):
        Graph(Node() >> Graph(name="inner")).validate()


def test_two_nodes_of_the_same_given_name_are_refused_before_anything_runs() -> None:
    """Results are identified by name."""
    chain = Node(name="a") >> Node(name="b") >> Node(name="a")
    with pytest.raises(GraphDefinitionError, match="two nodes named 'a': give each its own"):
        Graph(chain).validate()
    inner = Graph(chain, name="inner")
    with pytest.raises(GraphDefinitionError, match="'inner' has two nodes named 'a'"):
        Graph(Node() >> inner).validate()


def test_same_name_in_two_graphs_is_fine() -> None:
    """A name has to be its own within one graph only."""
    Graph(Node(name="a") >> Graph(Node(name="a"), name="inner")).validate()


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_graph_that_contains_itself_is_refused(depth: int) -> None:
    """Directly, through another graph or through a group: it could never end."""
    a = Node()
    graph: Any = Graph(a, name="outer")
    inside = graph
    for _ in range(depth):
        inside = Graph(Node() >> inside)
    a >> inside
    with pytest.raises(GraphDefinitionError, match="contains itself"):
        graph.validate()
    with pytest.raises(GraphDefinitionError, match="contains itself"):
        graph.run()


def test_graph_that_contains_itself_in_a_group_is_refused() -> None:
    """A branch is a graph like any other."""
    a = Node()
    graph = Graph(a)
    a >> settle(Node() >> Graph(Node() >> graph))
    with pytest.raises(GraphDefinitionError, match="contains itself"):
        graph.validate()


class Judge(Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Literal["good", "bad"] | None:
        return "good"


class Strings(Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> "Literal['good', 'bad']":
        return "good"


class Anything(Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Literal["good"] | str:
        return "good"


class Unresolved(Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> "Literal['good'] | Nowhere":  # type: ignore[name-defined]  # noqa: F821
        return "good"


@pytest.mark.parametrize("kind", [Judge, Strings])
def test_edge_for_an_action_that_is_not_declared_is_refused(kind: type[Node]) -> None:
    """A post that is declared to return certain actions leads along no others."""
    judge = kind()
    judge - "godo" >> Node()
    with pytest.raises(GraphDefinitionError, match=r"'godo'.*declared to return 'bad', 'good'"):
        Graph(judge).validate()
    with pytest.raises(GraphDefinitionError, match="'godo'"):
        Graph(judge).run()


@pytest.mark.parametrize("kind", [Judge, Strings])
@pytest.mark.parametrize("actions", [["good"], ["default"], ["good", "default", "error"]])
def test_declared_action_that_leads_nowhere_is_refused(
    kind: type[Node], actions: list[str]
) -> None:
    """It would end a run the first time that it is returned."""
    judge = kind()
    for action in actions:
        judge - action >> Node()
    with pytest.raises(GraphDefinitionError, match=r"'bad' leads nowhere.*Literal"):
        Graph(judge).validate()
    with pytest.raises(GraphDefinitionError, match="'bad' leads nowhere"):
        Graph(Node() >> Graph(judge, name="Inner")).run()


@pytest.mark.parametrize("actions", [[], ["error"], ["good", "bad"], ["good", "bad", "default"]])
def test_declared_actions_that_all_lead_somewhere_are_accepted(actions: list[str]) -> None:
    """A node without edges ends the graph, whatever it returns."""
    judge = Judge()
    for action in actions:
        judge - action >> Node()
    Graph(judge).validate()


def test_declared_action_may_lead_out_of_the_graph() -> None:
    """An inner graph hands it on to its own edges."""
    judge = Judge()
    judge - "good" >> Node()
    inner = Graph(judge)
    inner - "bad" >> Node()
    Graph(inner).validate()


def test_declared_action_may_lead_nowhere_in_compat() -> None:
    """A flow ends there, with a warning."""

    class Judges(compat.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Literal["good", "bad"]:
            return "good"

    judge = Judges()
    judge - "good" >> compat.Node()
    compat.Flow(start=judge).validate()


@pytest.mark.parametrize("kind", [Anything, Unresolved])
def test_declaration_that_says_less_than_all_is_not_a_reason_to_refuse(kind: type[Node]) -> None:
    """`Literal["good"] | str` may return anything, and so may a name that only a checker knows."""
    node = kind()
    node - "other" >> Node()
    Graph(node).validate()


# --- size and order -------------------------------------------------------------------------------


def test_chain_of_2000_nodes_needs_no_recursion() -> None:
    """A deep graph is planned, drawn, shown and run."""

    class Count(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["count"] = shared.get("count", 0) + 1

    first = Count()
    chain: Any = first
    for _ in range(1999):
        chain = chain >> Count()
    graph = Graph(chain)
    graph.validate()
    assert len(graph.plan.steps) == 2000
    assert graph.to_mermaid().count("\n") == 2000 + 1999
    assert len(repr(graph)) < 200
    shared: dict[str, int] = {}
    graph.run(shared)
    assert shared["count"] == 2000


def test_plan_is_found_again_after_more_wiring() -> None:
    """A graph that has run sees an edge that is added later."""
    a, b, c = nodes("abc")
    graph = Graph(a >> b)
    assert len(graph.plan.steps) == 2
    assert graph.plan is graph.plan
    b >> c
    assert [node.name for node in graph.plan.steps] == ["a", "b", "c"]


def test_order_is_that_of_the_wiring_where_edges_leave_it_open() -> None:
    """Branches stand in the order in which they were written."""
    a, b, c, d, e = nodes("abcde")
    found = plan(a >> [b, c, d] >> e)
    assert [node.name for node in found.steps] == list("abcde")


SCRIPT = """
from kaygraph import Graph, Node, settle
class Fetch(Node): pass
a, b, c, d, e = (Fetch() for _ in range(5))
a >> [b, c, d] >> e
e - "again" >> a
d - "skip" >> settle(Fetch(), Fetch() >> Fetch()) >> Graph(Fetch() >> Fetch(), name="inner")
graph = Graph(a)
print(graph.to_mermaid(), list(graph.plan.names.values()), repr(graph))
print([(s.name, s.index, s.bit, s.mask) for s in graph.plan.steps.values()])
"""


def test_plan_is_the_same_in_every_process() -> None:
    """Names, order, masks and drawing do not depend on the hash seed."""
    answers = set()
    for seed in ("0", "1", "4242"):
        answers.add(python("-c", SCRIPT, env={"PYTHONHASHSEED": seed}, check=True).stdout)
    assert len(answers) == 1
    assert "Fetch-5" in answers.pop()
