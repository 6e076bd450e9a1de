"""What a hook may ask about its run, and attributes of a program's own with the same names."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from kaygraph import AsyncNode, BatchGraph, Graph, Node, settle
from kaygraph.nodes import Log, NotifyNode, WriteJSONLines

FACTS = (
    "attempt",
    "error",
    "idempotency_key",
    "log",
    "now",
    "outcomes",
    "random",
    "replaying",
    "resource",
    "successors",
    "uuid",
)


@pytest.mark.parametrize("fact", FACTS)
def test_an_attribute_covers_the_fact_of_its_name(fact: str) -> None:
    """In `__init__`, on the class, and for as long as it is there."""

    class OnInstance(Node):
        def __init__(self) -> None:
            super().__init__()
            setattr(self, fact, "mine")

        async def exec(self, prep_res: Any, /) -> Any:
            return getattr(self, fact)

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            shared["seen"] = exec_res

    class OnClass(OnInstance):
        def __init__(self) -> None:
            Node.__init__(self)

    setattr(OnClass, fact, "mine")
    for kind in (OnInstance, OnClass):
        shared: dict[str, Any] = {}
        Graph(kind() >> Node()).run(shared)
        assert shared == {"seen": "mine"}
    node = OnInstance()
    delattr(node, fact)
    if fact != "resource":  # which a node has only while it runs
        assert getattr(node, fact) != "mine"


def test_an_edge_is_walked_whatever_covers_successors() -> None:
    """The engine has names of its own for what it needs."""

    class Ranked(AsyncNode):
        def __init__(self, name: str) -> None:
            super().__init__(name=name)
            self.successors = ["of mine"]

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            shared.append(self.name)

    seen: list[str] = []
    graph = Graph(Ranked("a") >> Ranked("b"))
    graph.run(seen)
    assert seen == ["a", "b"]
    assert repr(graph) == "<Graph a → b>"


def test_a_graph_is_walked_whatever_covers_its_plan() -> None:
    """And it is drawn as it is wired."""

    class Planned(Graph):
        def __init__(self, start: Any) -> None:
            super().__init__(start)
            self.plan = "of mine"

    graph = Planned(Node(name="a") >> Node(name="b"))
    graph.run()
    graph.validate()
    assert "a" in graph.to_mermaid()
    assert str(graph.plan) == "of mine"
    assert [step.name for step in Graph(Node(name="a")).plan.steps] == ["a"]


def test_a_group_runs_graphs_whatever_covers_their_plan() -> None:
    """The plan of a branch is asked for past its own attribute."""

    class Planned(Graph):
        def __init__(self, start: Any) -> None:
            super().__init__(start)
            self.plan = "of mine"

    class Marks(Node):
        def post(self, shared: Any, *_: Any) -> None:
            shared.append(self.name)

    seen: list[str] = []
    settle(Planned(Marks(name="a")), Marks(name="b")).run(seen)
    assert sorted(seen) == ["a", "b"]


def test_a_ready_made_node_works_whatever_covers_its_facts(tmp_path: Path) -> None:
    """What it holds open, and what its parts came to, is asked for past a subclass's attributes."""

    class Numbers(Node):
        def prep(self, shared: Any) -> Any:
            return [{"n": 1}, {"n": 2}]

    class Writes(WriteJSONLines):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.resource = "of mine"

    class Notifies(NotifyNode):
        def __init__(self, *channels: Any) -> None:
            super().__init__(*channels)
            self.outcomes = self.log = "of mine"

    (Numbers() | Writes(tmp_path / "out.jsonl")).run()
    assert (tmp_path / "out.jsonl").read_text().count("\n") == 2
    Notifies(Log()).run(shared := {"message": {"text": "hello"}})
    assert [delivery.ok for delivery in shared["deliveries"]] == [True]


def test_params_are_the_round_s() -> None:
    """They are refused as an attribute, with what to do instead."""
    with pytest.raises(
        AttributeError, match=r"enclosing BatchGraph round, whose prep\(\) returns them"
    ):
        Node().params = {"key": 1}  # type: ignore[misc]

    class Rounds(BatchGraph):
        def prep(self, shared: Any, /) -> Any:
            return [{"key": 1}, {"key": 2}]

    class Note(AsyncNode):
        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            shared.append(self.params["key"])

    seen: list[int] = []
    Rounds(Note()).run(seen)
    assert seen == [1, 2]


def test_outcomes_are_those_of_the_group_before_the_node() -> None:
    """Also when another group of the graph has ended since."""

    class Branch(AsyncNode):
        async def exec(self, _: Any, /) -> str:
            return self.name

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None: ...

    class Waits(AsyncNode):
        async def exec(self, _: Any, /) -> None:
            await ended.wait()

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            shared[self.name] = [outcome.value for outcome in self.outcomes]

    class Ends(Waits):
        async def exec(self, _: Any, /) -> None:
            ended.set()

    ended = asyncio.Event()
    one, other = (settle(Branch(name=name), name=f"group of {name}") for name in "ab")
    one >> Waits(name="after a")
    other >> Ends(name="after b")
    Graph([one, other]).run(shared := {})
    assert shared == {"after a": ["a"], "after b": ["b"]}


def test_facts_outside_of_a_run() -> None:
    """They are those of nobody; a resource is held only by a run."""
    node = Node()
    assert (node.attempt, node.error, node.outcomes, node.params) == (1, None, (), {})
    with pytest.raises(AttributeError, match="holds a resource only while it runs"):
        _ = node.resource
    node.log = logging.getLogger("mine")
    assert node.log.name == "mine"
