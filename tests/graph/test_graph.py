"""Graphs as nodes: nesting, rounds, repr, pickling, where and how they run."""

import asyncio
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    BatchGraph,
    Graph,
    GraphDefinitionError,
    Node,
    NodeDefinitionError,
    UnknownActionError,
    settle,
)


class Say(Node):
    """Writes its name into the shared list and returns its action."""

    def __init__(self, name: str, action: str | None = None, **settings: Any) -> None:
        super().__init__(name=name, **settings)
        self.action = action

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str | None:
        shared.append(self.name)
        return self.action


def said(start: Any) -> list[str]:
    shared: list[str] = []
    Graph(start).run(shared)
    return shared


# --- nesting ------------------------------------------------------------------------------------


def test_graph_is_a_node() -> None:
    """It stands in a chain, in a list, and as the start of another graph."""
    inner = Graph(Say("x") >> Say("y"), name="inner")
    other = Graph(Say("z"), name="other")
    assert said(Say("a") >> inner >> Say("b")) == ["a", "x", "y", "b"]
    assert sorted(said(Say("a") >> [other, Say("c")] >> Say("d"))) == ["a", "c", "d", "z"]
    assert said(Graph(Graph(Say("deep")))) == ["deep"]


def test_prep_of_a_graph_runs_before_its_walk_and_post_after_it() -> None:
    """post gets what prep returned and the last action."""

    class Wrapped(Graph):
        def prep(self, shared: Any) -> str:
            shared.append("prep")
            return "prepared"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            shared.append((prep_res, exec_res))
            return "over"

    shared: list[Any] = []
    assert Wrapped(Say("x", "ended")).run(shared) == "over"
    assert shared == ["prep", "x", ("prepared", "ended")]


def test_hook_that_is_put_on_a_graph_is_called() -> None:
    """As on any other node."""
    graph = Graph(Node())
    graph.post = lambda shared, prep_res, exec_res: f"after {exec_res}"  # type: ignore[method-assign]
    assert graph.run() == "after None"


def test_action_that_neither_graph_knows_is_a_mistake() -> None:
    """An inner graph that ends with an action the outer one does not listen to is named."""
    inner = Graph(Say("x", "odd"), name="inner")
    inner - "even" >> Say("y")
    with pytest.raises(UnknownActionError, match="Node 'inner' returned action 'odd'"):
        said(inner)


def test_names_of_nested_nodes_hold_the_graphs_around() -> None:
    """An error in a nested graph says where it happened."""

    class Fails(Node):
        def exec(self, prep_res: Any) -> None:
            raise ValueError("deep")

    graph = Graph(Graph(Graph(Fails(), name="low"), name="mid"), name="top")
    with pytest.raises(ValueError, match="deep") as caught:
        graph.run()
    assert caught.value.__notes__ == ["in node 'mid/low/Fails'"]


def test_validate_looks_into_nested_graphs_and_groups() -> None:
    """What cannot work inside is found from outside, before anything runs."""
    broken = Graph(Say("a") >> Say("a"), name="broken")
    for start in (Say("x") >> broken, Graph(broken), settle(broken, Say("y"))):
        with pytest.raises(GraphDefinitionError, match="'broken' has two nodes named 'a'"):
            Graph(start).validate()
    Graph(Say("x") >> Graph(Say("x"))).validate()


def test_same_node_may_stand_in_two_graphs() -> None:
    """Each graph has its own plan; the wiring is the node's."""
    a, b, c = Say("a"), Say("b"), Say("c")
    a >> b >> c
    assert said(a) == ["a", "b", "c"]
    assert said(b) == ["b", "c"]
    assert said(Graph(b, name="first") >> Graph(c, name="second")) == ["b", "c", "c"]


# --- BatchGraph ---------------------------------------------------------------------------------


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> Any:
        return [{"number": number} for number in shared["numbers"]]

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        shared["actions"] = exec_res
        return "done"


class Number(AsyncNode):
    """Gives its turn away as often as its number says, then returns it as an action."""

    def prep(self, shared: Any) -> Any:
        return self.params["number"]

    async def exec(self, number: int) -> int:
        for _ in range(number):
            await asyncio.sleep(0)
        if number == 13:
            raise ValueError(number)
        return number

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        shared.setdefault("ended", []).append(exec_res)
        return f"n{exec_res}"


def test_rounds_run_one_after_another_by_default() -> None:
    """post gets the last actions in the order of the params."""
    shared: dict[str, Any] = {"numbers": [3, 1, 2]}
    assert Rounds(Number()).run(shared) == "done"
    assert shared["ended"] == [3, 1, 2]
    assert shared["actions"] == ["n3", "n1", "n2"]


def test_rounds_run_at_once_and_keep_their_order() -> None:
    """With max_workers the short round ends first, and the actions stay in order."""
    shared: dict[str, Any] = {"numbers": [30, 1, 12]}
    Rounds(Number(), max_workers=3).run(shared)
    assert shared["ended"] == [1, 12, 30]
    assert shared["actions"] == ["n30", "n1", "n12"]


def test_rounds_may_come_from_a_generator_and_from_an_async_one() -> None:
    """Params are pulled lazily."""

    class Lazy(Rounds):
        def prep(self, shared: Any) -> Any:
            for number in range(3):
                shared.setdefault("log", []).append(number)
                yield {"number": number}

    class AsyncLazy(Rounds):
        async def prep(self, shared: Any) -> Any:  # type: ignore[override]
            for number in range(3):
                yield {"number": number}

    for kind in (Lazy, AsyncLazy):
        shared: dict[str, Any] = {}
        kind(Number(), max_workers=2).run(shared)
        assert shared["actions"] == ["n0", "n1", "n2"]


def test_no_rounds_are_no_mistake() -> None:
    """An empty list walks nothing."""
    shared: dict[str, Any] = {"numbers": []}
    assert Rounds(Number()).run(shared) == "done"
    assert shared["actions"] == []


def test_failed_round_is_raised_or_borne_as_on_error_says() -> None:
    """A round is an item: raise, collect, skip, or so many."""
    with pytest.raises(ValueError, match="13"):
        Rounds(Number()).run({"numbers": [1, 13, 2]})
    shared: dict[str, Any] = {"numbers": [1, 13, 2]}
    Rounds(Number(), on_error="skip").run(shared)
    assert shared["actions"] == ["n1", "n2"]
    shared = {"numbers": [1, 13, 2]}
    Rounds(Number(), on_error="collect", max_workers=2).run(shared)
    assert shared["actions"][0] == "n1"
    assert shared["actions"][1].status == "failed"
    assert shared["actions"][2] == "n2"


def test_params_are_empty_outside_of_a_round_and_cannot_be_changed() -> None:
    """A node is not changed by a run, and neither are its params."""
    node = Number()
    assert dict(node.params) == {}
    with pytest.raises((AttributeError, TypeError)):
        node.params = {"number": 1}  # type: ignore[misc,assignment]


# --- repr and pickle ------------------------------------------------------------------------------


class Fetch(Node):
    pass


class Parse(Node):
    pass


class Store(Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        shared["stored"] = shared.get("stored", 0) + 1
        return "stored"


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: Graph(Fetch() >> Parse() >> Store()), "<Graph Fetch → Parse → Store>"),
        (lambda: Graph(Fetch(), name="all"), "<Graph 'all' Fetch>"),
        (lambda: Graph(Fetch() >> [Parse(), Store()]), "<Graph Fetch → [Parse, Store]>"),
        (
            lambda: Graph(Fetch() >> [Parse(), Parse()] >> Store()),
            "<Graph Fetch → [Parse, Parse-2] → Store>",
        ),
        (lambda: BatchGraph(Fetch() >> Fetch()), "<BatchGraph Fetch → Fetch-2>"),
        (lambda: Graph(), "<Graph without a start>"),
        (Fetch, "<Fetch>"),
        (lambda: Fetch(name="first"), "<Fetch 'first'>"),
    ],
)
def test_repr_shows(make: Callable[[], Any], shown: str) -> None:
    """It shows the line of a graph, and the name where one was given."""
    assert repr(make()) == shown


def test_repr_of_a_loop_ends() -> None:
    """A line that leads back to itself is shown once."""
    a = Fetch()
    a >> Parse() >> a
    assert repr(Graph(a)) == "<Graph Fetch → Parse → …>"


def test_repr_of_a_graph_that_cannot_work_still_works() -> None:
    """Debuggers and error messages ask for a repr: it never raises."""
    assert "Graph" in repr(Graph(Say("a") >> Say("a")))


def test_node_is_pickled_without_its_neighbours() -> None:
    """A node goes to a process or a cluster alone, with its settings."""
    a, unpicklable = Fetch(name="a", max_retries=3), Fetch()
    unpicklable.lock = threading.Lock()  # type: ignore[attr-defined]
    a >> unpicklable >> a
    copy = pickle.loads(pickle.dumps(a))
    assert (copy.name, copy.max_retries) == ("a", 3)
    assert dict(copy.successors) == {}
    assert [node.name for node in a.successors["default"]] == ["Fetch"]


def test_graph_is_pickled_with_its_wiring() -> None:
    """The copy walks as the original does: loops, joins, nested graphs and groups."""
    a, d = Fetch(), Store()
    inner = Graph(Fetch() >> Store(), name="inner")
    a >> [Fetch(), inner, settle(Store(), Fetch() >> Store())] >> d
    d - "again" >> a
    d - "stored" >> Parse()
    inner - "stored" >> d
    graph = Graph(a, name="outer", max_workers=2, on_conflict="ignore")
    shared: dict[str, Any] = {}
    graph.run(shared)
    graph >> Fetch()  # a neighbour, which stays behind
    copy = pickle.loads(pickle.dumps(graph))
    assert copy.to_mermaid() == graph.to_mermaid()
    assert (copy.name, copy.max_workers, dict(copy.successors)) == ("outer", 2, {})
    copied: dict[str, Any] = {}
    copy.run(copied)
    assert copied == shared == {"stored": 4}


def test_long_graph_is_pickled_without_recursion() -> None:
    """More nodes in a row than Python calls functions within each other."""
    chain: Any = Fetch()
    for _ in range(1499):
        chain = chain >> Fetch()
    copy = pickle.loads(pickle.dumps(Graph(chain)))
    assert len(copy.plan.steps) == 1500


def test_exec_on_a_graph_is_refused() -> None:
    """A graph's work is its nodes: an exec that nobody would call is named at once."""
    with pytest.raises(NodeDefinitionError, match="Busy defines exec"):

        class Busy(Graph):
            def exec(self, prep_res: Any) -> Any:
                return prep_res
