"""What a node is made of, and a copy of it that is made of something else."""

from collections.abc import Callable
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    BatchGraph,
    Graph,
    MapReduceNode,
    Node,
    NodeDefinitionError,
    ParallelBatchNode,
    all_of,
    settle,
)
from kaygraph.patterns import RaceNode


class Note(AsyncNode):
    """Notes its name in ``shared``; in a pipeline, in the items."""

    async def exec(self, item: Any) -> Any:
        return None if item is None else item + self.name

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared.append(self.name)


class Source(Note):
    def prep(self, shared: Any) -> list[str]:
        return ["-"]


def notes(names: str) -> list[Note]:
    return [Note(name=letter) for letter in names]


def ran(node: Any) -> str:
    shared: list[str] = []
    node.run(shared)
    return "".join(shared)


def race() -> RaceNode:
    async def one(item: Any) -> str:
        return "one"

    async def other(item: Any) -> str:
        return "other"

    return RaceNode(one, other, writes="answer")


@pytest.mark.parametrize("kind", [Node, AsyncNode, ParallelBatchNode, MapReduceNode])
def test_node_without_parts(kind: Callable[[], Any]) -> None:
    """Most nodes are made of nothing but their hooks."""
    composition = kind().composition
    assert composition.kind == "node"
    assert composition.nodes == ()
    assert composition.plan is None


def test_graph_is_made_of_the_nodes_that_it_walks() -> None:
    """In the order of its plan, which comes with them."""
    a, b, c = notes("abc")
    for kind in (Graph, BatchGraph):
        graph = kind(a >> [b, c])
        assert graph.composition.kind == "graph"
        assert graph.composition.nodes == (a, b, c)
        assert graph.composition.plan is graph.plan


def test_other_kinds_are_made_of_what_they_were_given() -> None:
    """Branches, stages, and what a pattern makes of its callables."""
    a, b, c, d = notes("abcd")
    inner = Graph(a)
    group, pipeline, compound = settle(inner, b), c | d, race()
    assert group.composition.kind == "group"
    assert group.composition.nodes[0] is inner
    assert group.composition.nodes[1].composition.nodes == (b,)
    assert (pipeline.composition.kind, pipeline.composition.nodes) == ("pipeline", (c, d))
    assert compound.composition.kind == "compound"
    assert [part.name for part in compound.composition.nodes] == ["one", "other"]


def test_graph_of_other_nodes_is_wired_as_it_was() -> None:
    """Actions, loops and starts lead to those in their places; the graph that was is untouched."""
    a, b, c, d = notes("abcd")
    a >> [b, c] >> d
    d - "again" >> b
    graph = Graph([a, c], name="mine", max_workers=2)
    ran(graph)
    stands_for = dict(zip(graph.composition.nodes, notes("wxyz"), strict=True))
    other = graph.with_parts(list(stands_for.values()))
    w, x, y, z = (stands_for[node] for node in (a, b, c, d))
    assert type(other) is Graph
    assert (other.name, other.max_workers) == ("mine", 2)
    assert list(other.plan.edges()) == [
        (stands_for[source], action, stands_for[target])
        for source, action, target in graph.plan.edges()
    ]
    assert other.plan.starts == (w, y)
    assert other.plan.back_edges == {(z, x)}
    assert set(graph.composition.nodes) == {a, b, c, d}
    assert sorted(ran(other)) == sorted(stands_for[n].name for n in graph.composition.nodes)


def test_group_of_other_branches_runs_them() -> None:
    """The policy stays."""
    a, b, x, y = notes("abxy")
    group = all_of(Graph(a), Graph(b), name="both")
    other = group.with_parts([Graph(x), Graph(y)])
    assert (other.name, other.needed) == ("both", 2)
    assert sorted(ran(other)) == ["x", "y"]
    assert sorted(ran(group)) == ["a", "b"]


def test_pipeline_of_other_stages_streams_through_them() -> None:
    """The buffer stays."""
    results: list[Any] = []

    class Kept(Note):
        async def exec(self, item: Any) -> Any:
            results.append(item)

    pipeline = Source(name="a") | Note(name="b") | Kept(name="c")
    other = pipeline.with_parts([Source(name="x"), Note(name="y"), Kept(name="z")])
    assert other.buffer == pipeline.buffer
    assert ran(other) == "xyz"
    assert results == ["-xy"]


def test_compound_of_other_parts_asks_them() -> None:
    """Under the names of those that they stand for."""

    class First(AsyncNode[Any, Any]):
        async def exec(self, item: Any) -> str:
            return f"first {item}"

    node = race()
    other = node.with_parts([First(), First()])
    answers: list[dict[str, Any]] = [{}, {}]
    other.run(answers[0])
    node.run(answers[1])
    assert [list(answer) for answer in answers] == [["answer"], ["answer"]]
    assert answers[0]["answer"].startswith("first")
    assert answers[1]["answer"] in ("one", "other")


MADE = [Note, lambda: Graph(Note() >> Note()), lambda: settle(Note()), lambda: Source() | Note()]


@pytest.mark.parametrize("make", MADE)
def test_copy_without_other_parts_is_made_of_the_same(make: Callable[[], Any]) -> None:
    """It has the settings and no neighbours."""
    node, follower = make(), Note()
    node.name = "mine"
    node >> follower
    copied = node.with_parts()
    assert copied is not node
    assert copied.name == "mine"
    assert copied.successors == {}
    assert copied.composition.nodes == node.composition.nodes
    assert node.successors == {"default": [follower]}


@pytest.mark.parametrize("make", MADE)
def test_as_many_parts_as_there_are_have_to_be_given(make: Callable[[], Any]) -> None:
    """One for each of them."""
    with pytest.raises(ValueError, match=r"is made of \d nodes, got 3"):
        make().with_parts(notes("abc"))


@pytest.mark.parametrize("name", ["composition", "with_parts"])
def test_names_that_the_engine_asks_for_are_refused(name: str) -> None:
    """On a class and on a node: the one who defines them did not mean ours."""
    with pytest.raises(NodeDefinitionError, match=f"Mine defines {name}, which is a name that the"):
        type("Mine", (Node,), {name: 3})
    with pytest.raises(AttributeError, match=f"{name} is a name that the engine uses"):
        setattr(Node(), name, 3)
