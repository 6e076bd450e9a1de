"""Conflicts between what runs in graphs, groups and rounds that stand in each other."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kaygraph import (
    BaseNode,
    BatchGraph,
    Graph,
    Node,
    Pipeline,
    WriteConflictError,
    all_of,
    at_least,
    first_of,
    settle,
)
from kaygraph.types import BranchGroup
from tests.observability.writing import (
    Writer,
    conflicts,
    conflicts_in_any_order,
    give_turns,
    reports_of,
)

AnyNode = BaseNode[Any, Any]
Group = Callable[..., BranchGroup]


def parallel(*branches: Any, **settings: Any) -> Graph:
    """Return a graph that begins all of them at once, and joins them."""
    return Graph(Writer("start") >> list(branches) >> Writer("join"), **settings)


class Rounds(BatchGraph):
    """Three rounds."""

    def prep(self, _: Any) -> list[dict[str, int]]:
        return [{"round": number} for number in range(3)]


# --- graphs ---------------------------------------------------------------------------------------


def test_nodes_of_inner_graphs_are_named_with_their_graphs() -> None:
    """Two parallel inner graphs, and a node parallel to a graph in a graph."""
    one, two = (Graph(Writer("a") >> Writer("b", "k"), name=name) for name in ("one", "two"))
    assert conflicts(parallel(one, two)) == {("one/b", "two/b", "k")}
    inner = Graph(Writer("a") >> Graph(Writer("b", "k"), name="inmost"), name="inner")
    assert conflicts(parallel(inner, Writer("c", "k"))) == {("c", "inner/inmost/b", "k")}


def test_fork_in_an_inner_graph_is_looked_at() -> None:
    """In a chain, and in a branch parallel to others."""
    for make in (
        lambda inner: Graph(Writer("s") >> inner),
        lambda inner: parallel(inner, Writer("o")),
    ):
        inner = Graph(Writer("i") >> [Writer("a", "k"), Writer("b", "k")], name="inner")
        assert conflicts(make(inner)) == {("inner/a", "inner/b", "k")}


def inner_graphs() -> list[Graph]:
    """Return graphs that begin, fork and end in different ways, with x among their nodes."""
    first, join = Writer("first", "f"), Writer("last", "k")
    return [
        Graph(Writer("x", "k"), name="inner"),
        Graph(first >> [Writer("x", "k"), Writer("y")] >> join, name="inner"),
        Graph(Writer("first") >> [Writer("x", "k"), Writer("y")], name="inner"),
        Graph([Writer("x", "k"), Writer("y")], name="inner"),
        Graph([Writer("x", "k"), Writer("y")] >> Writer("last", "k"), name="inner"),
        Graph(Writer("a") >> Graph([Writer("x", "k"), Writer("y")], name="inmost"), name="inner"),
        Graph(all_of(Writer("x", "k"), Writer("y")), name="inner"),
        Graph([all_of(Writer("x", "k"), Writer("y")), Writer("z")], name="inner"),
        Graph(Rounds(Writer("x", "k")), name="inner"),
    ]


@pytest.mark.parametrize("number", range(len(inner_graphs())))
def test_node_after_an_inner_graph_is_after_all_in_it(number: int) -> None:
    """Its own last nodes, and the node after it, may write what was written within."""
    assert conflicts(Graph(inner_graphs()[number] >> Writer("after", "k"))) == set()
    inner = inner_graphs()[number]
    chain = Writer("before", "k") >> inner >> Writer("after", "k")
    assert conflicts(parallel(chain, Writer("other", pauses=9))) == set()


@pytest.mark.parametrize("number", range(len(inner_graphs())))
def test_node_parallel_to_an_inner_graph_is_parallel_to_all_in_it(number: int) -> None:
    """What is written within meets what is written in parallel with the graph."""
    for pauses in (0, 20):
        graph = parallel(inner_graphs()[number], Writer("other", "k", pauses=pauses))
        for seed in range(4):
            found = reports_of(graph, seed=seed)
            assert found
            assert all("other" in report and report[-1] == "k" for report in found)


@pytest.mark.parametrize("hook", ["prep", "prep_late", "post", "post_late", "sync"])
@pytest.mark.parametrize("kind", [Graph, BranchGroup, Rounds])
def test_hooks_of_a_graph_or_group_are_its_own(kind: type[Any], hook: str) -> None:
    """What a graph's own prep and post write is reported with its name, and with nobody else's."""

    class Own(kind):  # type: ignore[misc]
        async def prep(self, shared: Any) -> Any:
            self.write(shared, "prep")
            await give_turns(1)
            self.write(shared, "prep_late")
            return [{}]

        async def post(self, shared: Any, *_: Any) -> None:
            self.write(shared, "post")
            await give_turns(1)
            self.write(shared, "post_late")

        def write(self, shared: Any, moment: str) -> None:
            if moment == hook:
                shared["k"] = object()

    class OwnSync(kind):  # type: ignore[misc]
        def prep(self, shared: Any) -> Any:
            shared["k"] = object()
            return [{}]

        def post(self, shared: Any, *_: Any) -> None:
            shared["k"] = object()

    def own(name: str) -> AnyNode:
        node: AnyNode = (OwnSync if hook == "sync" else Own)(Writer("x", pauses=2), name=name)
        return node

    assert conflicts(parallel(own("own"), Writer("b", "k"))) == {("b", "own", "k")}
    assert conflicts(parallel(own("own"), own("other"))) == {("other", "own", "k")}
    waiting = Writer("b", pauses=2) >> Writer("c", pauses=2)
    assert conflicts(parallel(own("own") >> Writer("after", "k"), waiting)) == set()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("hook", ["prep", "post"])
def test_hooks_of_branches_that_are_graphs_are_their_own(hook: str, late: bool) -> None:
    """The hooks of a graph in a group run in parallel with the other branches."""

    class Own(Graph):
        async def prep(self, shared: Any) -> None:
            await self.write(shared, "prep")

        async def post(self, shared: Any, *_: Any) -> None:
            await self.write(shared, "post")

        async def write(self, shared: Any, moment: str) -> None:
            await give_turns(late)
            if moment == hook:
                shared["k"] = object()
            await give_turns(not late)

    def group() -> BranchGroup:
        return all_of(Own(Writer("a"), name="one"), Own(Writer("b"), name="two"), name="group")

    assert conflicts(Graph(group())) == {("group/one", "group/two", "k")}
    assert conflicts(parallel(group(), Writer("c"))) == {("group/one", "group/two", "k")}
    waiting = Writer("c", pauses=3) >> Writer("d", pauses=3)
    quiet = all_of(Own(Writer("a"), name="one"), Writer("b"), name="group")
    assert conflicts(parallel(quiet >> Writer("after", "k"), waiting)) == set()


# --- what fails -----------------------------------------------------------------------------------


def failing(kind: str) -> AnyNode:
    """Return a node that writes k somewhere within and fails."""
    writes, fails = Writer("x", "k"), Writer("fails", fails=True)
    if kind == "graph":
        return Graph(writes >> fails, name="inner")
    if kind == "fork":
        return Graph(writes >> [fails, Writer("y", pauses=9)], name="inner")
    if kind == "group":
        return all_of(writes >> fails, Writer("y", pauses=9), name="inner")
    return Rounds(writes >> fails, name="inner", max_workers=1 if kind == "rounds" else 2)


@pytest.mark.parametrize("kind", ["graph", "fork", "group", "rounds", "rounds at once"])
def test_error_route_is_after_all_in_what_failed(kind: str) -> None:
    """What handles the error of a graph or a group comes after what was written in it."""
    node, handler = failing(kind), Writer("handler", "k")
    node - "error" >> handler
    found = conflicts_in_any_order(parallel(node, Writer("b", pauses=9)))
    assert not any("handler" in report for report in found)


def test_next_round_is_after_one_that_failed() -> None:
    """Rounds one by one are in order, also after one that is skipped."""

    class FailsFirst(Node):
        def post(self, *_: Any) -> None:
            if self.params["round"] == 0:
                raise ValueError

    rounds = Rounds(Writer("x", "k") >> FailsFirst(), on_error="skip")
    assert conflicts(parallel(rounds >> Writer("after", "k"), Writer("b", pauses=9))) == set()


# --- groups ---------------------------------------------------------------------------------------

GROUPS: list[Group] = [all_of, first_of, settle, lambda *branches: at_least(2, *branches)]


@pytest.mark.parametrize("group", GROUPS)
def test_branches_of_a_group_are_reported(group: Group) -> None:
    """Whatever the policy, those who have written are named."""
    for make in (Graph, lambda node: parallel(node, Writer("other"))):
        branches = Writer("a", "k") >> Writer("a2"), Writer("b", "k") >> Writer("b2")
        found = conflicts_in_any_order(make(group(*branches)))
        assert found == {("BranchGroup/a/a", "BranchGroup/b/b", "k")}


@pytest.mark.parametrize("group", GROUPS)
def test_node_after_a_group_is_after_all_of_its_branches(group: Group) -> None:
    """Also after those that were cancelled, or have failed."""
    branches = [
        Writer("a", "k") >> Writer("a2", pauses=50),
        Writer("b") >> Writer("b2"),
        Writer("c", "l") >> Writer("c2", "l"),
    ]
    if group is settle:
        branches.append(Writer("d", "m") >> Writer("fails", fails=True))
    chain = Writer("before", "k") >> group(*branches) >> Writer("after", "k", "l", "m")
    assert conflicts(parallel(chain, Writer("other", pauses=9))) == set()


def test_branch_of_a_group_meets_what_is_parallel_to_the_group() -> None:
    """A group in a branch is part of that branch."""
    group = all_of(Writer("a", "k"), Writer("b", "l"), name="group")
    found = conflicts(parallel(group, Writer("c", "k") >> Writer("d", "l")))
    assert found == {("c", "group/a", "k"), ("d", "group/b", "l")}


def test_conflict_in_a_group_is_raised() -> None:
    """A branch that is in conflict has failed."""
    graph = Graph(all_of(Writer("a", "k"), Writer("b", "k")), on_conflict="raise")
    with pytest.raises(WriteConflictError):
        asyncio.run(graph.run_async({}))


# --- rounds, and what counts as one node ----------------------------------------------------------


def test_rounds_at_once_are_reported() -> None:
    """A node that runs in two rounds at once is parallel to itself, and to the other nodes."""
    for make in (Graph, lambda node: parallel(node, Writer("other"))):
        rounds = Rounds(Writer("a", "k") >> Writer("b"), max_workers=2, name="rounds")
        assert conflicts(make(rounds)) == {("rounds/a", "k")}
    rounds = Rounds(Writer("a", "k") >> Writer("b", "k"), max_workers=3, name="rounds")
    for seed in range(8):
        named = {name for report in reports_of(Graph(rounds), seed=seed) for name in report}
        assert named <= {"rounds/a", "rounds/b", "k"}
        assert named


def test_rounds_one_by_one_are_in_order() -> None:
    """Nothing is reported for consecutive rounds, or for nodes after all rounds."""
    for workers in (1, 2):
        nodes = Writer("a", "k") >> Writer("b", "k") if workers == 1 else Writer("a")
        chain = Rounds(nodes, max_workers=workers) >> Writer("after", "k")
        assert conflicts(parallel(chain, Writer("other", pauses=9))) == set()


def test_node_after_rounds_at_once_is_after_all_of_them() -> None:
    """Only the rounds are parallel."""
    chain = Rounds(Writer("a", "k"), max_workers=2, name="rounds") >> Writer("after", "k")
    assert conflicts(parallel(chain, Writer("other", pauses=9))) == {("rounds/a", "k")}


def test_pipeline_is_one_node() -> None:
    """What its stages write in prep and post is the pipeline's."""

    class Stage(Writer):
        async def prep(self, shared: Any) -> Any:
            await super().prep(shared)
            return range(3)

        async def exec(self, item: Any) -> Any:
            return item

    for at in ("prep", "prep_late", "post", "post_late"):
        stages = Pipeline(Stage("one"), Stage("two", "k", at=at), name="stages")
        waiting = Writer("c", pauses=3) >> Writer("b", "k", pauses=3)
        assert conflicts(parallel(stages, waiting)) == {("b", "stages", "k")}


def test_caps_put_no_order_between_branches() -> None:
    """Branches whose exec runs one at a time are still parallel."""
    graph = parallel(Writer("a", "k"), Writer("b", "k"), max_workers=1)
    assert conflicts(graph) == {("a", "b", "k")}
    inner = Graph(Writer("a", "k"), name="inner", max_workers=1)
    assert conflicts(parallel(inner, Writer("b", "k"))) == {("b", "inner/a", "k")}
