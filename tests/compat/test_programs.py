"""What programs for PocketFlow and KayGraph do with nodes other than running them."""

import asyncio
import warnings
from dataclasses import dataclass
from typing import Any

import pytest

from kaygraph import Graph as CoreGraph
from kaygraph import Node as CoreNode
from kaygraph.compat import (
    AsyncBatchFlow,
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchFlow,
    BatchNode,
    Config,
    Flow,
    Graph,
    MetricsNode,
    Node,
    ParallelBatchNode,
)


class Say(Node):
    """Notes its name."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        shared.setdefault("said", []).append(type(self).__name__)


# --- successors ----------------------------------------------------------------------------------


def test_a_program_walks_over_successors_as_over_nodes() -> None:
    """As programs do that draw a flow or trace it: one node for each action."""
    a, b, c = Say(), Say(), Say()
    a >> b
    a - "other" >> c
    b >> a
    edges, seen, queue = set(), set(), [Flow(a).start_node]
    while queue:
        node = queue.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        for action, target in node.successors.items():
            edges.add((id(node), action, id(target)))
            queue.append(target)
    assert edges == {(id(a), "default", id(b)), (id(a), "other", id(c)), (id(b), "default", id(a))}


def test_successors_may_be_set_and_removed() -> None:
    """The flow goes where the program has led it."""

    class First(Say):
        pass

    class Second(Say):
        pass

    a, b = First(), Second()
    a.successors["default"] = b
    assert a.successors == {"default": b}
    assert (len(a.successors), "default" in a.successors) == (1, True)
    Flow(a).run(shared := {})
    assert shared["said"] == ["First", "Second"]
    a.successors = {}
    Flow(a).run(shared := {})
    assert shared["said"] == ["First"]
    assert repr(a.successors) == "{}"


def test_what_is_set_on_a_wiring_is_set_on_its_last_node() -> None:
    """In PocketFlow, ``a >> b`` is ``b``."""
    a, b = Say(), Say()
    (a >> b).label = 1  # type: ignore[attr-defined]
    assert b.label == 1  # type: ignore[attr-defined]
    assert not hasattr(a, "label")


# --- what classes take, and are -------------------------------------------------------------------


def test_the_first_argument_of_a_parallel_batch_is_how_many_run_at_once() -> None:
    """As in KayGraph; the arguments of a Node follow it."""
    node = ParallelBatchNode(8)
    assert (node.max_workers, node.max_retries) == (8, 1)
    node = ParallelBatchNode(4, 3, 0.5, "id", Config(model="m"))
    assert (node.max_workers, node.max_retries, node.wait, node.node_id) == (4, 3, 0.5, "id")
    assert node.config["model"] == "m"
    assert ParallelBatchNode("id").node_id == "id"
    assert ParallelBatchNode(max_retries=2).max_workers == 10
    assert ParallelBatchNode("auto").max_workers == "auto"


def test_a_config_may_stand_where_the_id_does() -> None:
    """By position, after the start of a flow or the id of a node."""
    config = Config(model="m")
    assert Graph(Say(), config).config is config
    assert Graph(Say(), "id", config).config is config
    assert Node("id", config).config is config
    assert Node("id", config).node_id == "id"


def test_a_config_may_be_changed_and_merged() -> None:
    """Changes are seen by all nodes that read it; a merge is a new one."""
    config = Config(model="small")
    node = Node(config=config)
    config.set("model", "large")
    config.update({"top": 1}, low=0)
    assert node.config.to_dict() == {"model": "large", "top": 1, "low": 0}
    merged = config.merge({"low": 2})
    assert (merged["low"], config["low"], type(merged)) == (2, 0, Config)
    with pytest.raises(TypeError, match=r"has no Config of its own to change: pass one"):
        Node().config.set("model", "tiny")


def test_a_node_that_counts_takes_whether_it_does_and_tells_the_figures() -> None:
    """By position, as in KayGraph; ``metrics`` has the runs one by one."""

    class Fails(MetricsNode):
        def exec(self, _: Any) -> None:
            if self.cur_retry == 0:
                raise OSError

    node = Fails(True, 2)
    assert (node.collect_metrics, node.max_retries) == (True, 2)
    for _ in range(3):
        node.run({})
    metrics = node.metrics
    assert (metrics["success_count"], metrics["error_count"]) == (3, 0)
    assert metrics["retry_counts"] == [1, 1, 1]
    assert len(metrics["execution_times"]) == 3
    quiet = Fails(False, 2)
    quiet.run({})
    assert quiet.metrics["execution_times"] == []


def test_the_time_of_the_last_exec_is_in_the_context() -> None:
    """For the hooks after it."""

    class Timed(Node):
        def exec(self, _: Any) -> int:
            return 1

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["seconds"] = self.get_context("last_execution_time")

    Flow(Timed()).run(shared := {})
    assert shared["seconds"] >= 0


@pytest.mark.parametrize("kind", [AsyncFlow, AsyncBatchFlow, AsyncParallelBatchFlow])
def test_an_asynchronous_flow_is_an_asynchronous_node(kind: Any) -> None:
    """Programs ask so whether to await it."""
    assert isinstance(kind(), AsyncNode)
    assert not isinstance(Flow(), AsyncNode)


# --- hooks ----------------------------------------------------------------------------------------


def test_hooks_that_are_set_on_an_object_are_called() -> None:
    """Also those that its class does not have."""

    async def exec_async(prep_res: Any) -> int:
        return 3

    async def post_async(shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["result"] = exec_res

    node = AsyncNode()
    node.exec_async = exec_async  # type: ignore[method-assign]
    node.post_async = post_async  # type: ignore[method-assign]
    asyncio.run(AsyncFlow(node).run_async(shared := {}))
    assert shared["result"] == 3

    def fails(prep_res: Any) -> None:
        raise KeyError(1)

    plain = Node()
    plain.exec = fails  # type: ignore[method-assign, assignment]
    plain.on_error = lambda shared, error: shared.setdefault("errors", []).append(error) or True  # type: ignore[attr-defined]
    Flow(plain).run(shared)
    assert [str(error) for error in shared["errors"]] == ["1"]


@pytest.mark.parametrize("base", [Node, BatchNode])
def test_a_method_called_on_error_is_a_hook_only_with_its_arguments(base: Any) -> None:
    """A helper of that name is the program's own, and its batch fails as any other."""

    class Helps(base):  # type: ignore[misc]
        def on_error(self, text: str) -> str:
            return text.upper()

        def prep(self, shared: Any) -> list[int]:
            return [1]

        def exec(self, _: Any) -> None:
            raise ValueError(self.on_error("no"))

    with pytest.raises(ValueError, match="NO"):
        Flow(Helps()).run({})


def test_an_action_that_means_the_opposite_is_not_suggested() -> None:
    """A prefix makes another word of it."""

    class Approves(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            return "Approve"

    node = Approves()
    node - "Disapprove" >> Say()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Flow(node).run({})
    (warning,) = caught
    assert "Flow ends: 'Approve' not found in ['Disapprove']" in str(warning.message)
    assert "Did you mean" not in str(warning.message)


@pytest.mark.parametrize("given", [(), (None,), ({"a": 1},), ([],)])
def test_hooks_get_the_store_that_a_run_was_given(given: Any) -> None:
    """None too; where it is left out, it is a new dict."""
    seen: list[Any] = []

    class Sees(AsyncNode):
        async def prep_async(self, shared: Any) -> None:
            seen.append(shared)

    node = Sees()
    node.run(*given)
    AsyncFlow(node).run(*given)
    asyncio.run(AsyncFlow(node).run_async(*given))
    assert seen == [given[0] if given else {}] * 3


def test_flows_nest_as_deep_as_a_program_likes() -> None:
    """A recursion limit is not a limit of a flow."""
    flow: Any = Say()
    for _ in range(500):
        flow = Flow(flow)
    flow.run(shared := {})
    assert shared["said"] == ["Say"]


# --- nodes that compare by value -----------------------------------------------------------------


def equal_classes(base: Any) -> list[Any]:
    @dataclass
    class Data(base):  # type: ignore[misc]
        number: int = 1

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared.setdefault("numbers", []).append(self.number)

    class Equal(base):  # type: ignore[misc]
        number = 1

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared.setdefault("numbers", []).append(self.number)

    return [Data, Equal]


@pytest.mark.parametrize("base", [Node, CoreNode])
def test_nodes_that_are_equal_are_different_nodes_of_a_graph(base: Any) -> None:
    """Dataclasses, and classes with an ``__eq__``: a graph knows its nodes by themselves."""
    graph = Flow if base is Node else CoreGraph
    for kind in equal_classes(base):
        a, b, c = kind(), kind(), kind()
        assert a == b
        a >> b >> c
        graph(a).run(shared := {})
        assert shared["numbers"] == [1, 1, 1]
        first, *others = kind(), kind(), kind()
        CoreGraph(CoreNode() >> first >> others).run(shared := {})
        assert shared["numbers"] == [1, 1, 1]
