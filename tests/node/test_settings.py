"""What may be set on a node: in one table, refused alike wherever it is set."""

import typing
from collections.abc import Mapping
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    BaseNode,
    BatchGraph,
    BatchNode,
    Cache,
    Graph,
    MapReduceNode,
    Node,
    NodeDefinitionError,
    ParallelBatchNode,
    Pipeline,
    RateLimit,
    Retry,
)
from kaygraph.node.keywords import Attempts, PipelineSettings
from kaygraph.nodes import ReadText
from kaygraph.types import (
    BatchGraphSettings,
    BatchSettings,
    BranchGroup,
    GraphSettings,
    MapReduceSettings,
    NodeSettings,
    ParallelSettings,
)

TAKES: Mapping[type[BaseNode[Any, Any]], tuple[type, ...]] = {
    Node: (Attempts, NodeSettings),
    BatchNode: (Attempts, BatchSettings),
    ParallelBatchNode: (Attempts, ParallelSettings),
    MapReduceNode: (MapReduceSettings,),
    Graph: (GraphSettings,),
    BatchGraph: (BatchGraphSettings,),
    Pipeline: (PipelineSettings,),
}


class Doubled(AsyncNode[int, int]):
    """A node with work."""

    async def exec(self, number: int, /) -> int:
        return (number or 0) * 2


@pytest.mark.parametrize("kind", TAKES)
def test_a_class_has_what_it_takes_and_nothing_else(kind: type[BaseNode[Any, Any]]) -> None:
    """Each of its keywords is an attribute with a default; those of its relatives are not there."""
    keywords = {name for table in TAKES[kind] for name in table.__annotations__}
    assert kind._accepts == keywords
    known = {
        name for tables in TAKES.values() for table in tables for name in table.__annotations__
    }
    assert {name for name in known if hasattr(kind, name)} == keywords


@pytest.mark.parametrize("kind", TAKES)
def test_an_attribute_has_the_type_of_its_keyword(kind: type[BaseNode[Any, Any]]) -> None:
    """What a checker knows of a setting is the same, however it is set."""
    said: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        said |= vars(base).get("__annotations__", {})
    for table in TAKES[kind]:
        for name, annotation in table.__annotations__.items():
            if (kind, name) != (BatchGraph, "max_workers"):  # which has no "no limit"
                assert _written(typing.get_args(annotation)[0]) == _written(said[name])


def _written(annotation: Any) -> set[str]:
    text = getattr(annotation, "__forward_arg__", annotation)
    return set((text.__name__ if isinstance(text, type) else str(text)).split(" | ")) - {"None"}


@pytest.mark.parametrize(
    ("node", "name", "meant"),
    [
        (Graph(Node()), "timeout", "task_timeout"),
        (Graph(Node()), "max_retries", None),
        (BatchNode(), "max_workers", None),
        (BatchNode(), "ordered", None),
        (Node(), "on_error", None),
        (BranchGroup(Node()), "deadline", None),
        (Node() | Node(), "retry", None),
        (MapReduceNode(), "max_workers", "map_workers"),
    ],
)
def test_a_setting_that_a_node_does_not_take_is_refused_on_the_object(
    node: BaseNode[Any, Any], name: str, meant: str | None
) -> None:
    """As on the class and as a keyword, with the nearest that it takes."""
    with pytest.raises(
        AttributeError, match=f"{name} is not a setting of a {type(node).__name__}"
    ) as caught:
        setattr(node, name, 3)
    if meant:
        assert f"Did you mean {meant!r}?" in str(caught.value)
    assert not hasattr(node, name)
    with pytest.raises(NodeDefinitionError, match=f"Mine sets {name}, which it does not take"):
        type("Mine", (type(node),), {name: 3})


def test_a_setting_of_an_unrelated_class_is_a_program_s_own() -> None:
    """Words like these are common, and no node would do anything with them here."""

    class Own(Node):
        partitions = 3

        def __init__(self) -> None:
            super().__init__()
            self.buffer: list[int] = []
            self.collect = "all"

    assert (Own().partitions, Own().buffer, Own().collect) == (3, [], "all")


@pytest.mark.parametrize(("name", "value"), [("rate", 0.2), ("timeout", object())])
def test_a_value_of_another_meaning_names_whose_name_it_takes(name: str, value: Any) -> None:
    """`rate = 0.2` was a tax: the error says that the name is a setting of every node."""

    class Priced(Node):
        def __init__(self) -> None:
            super().__init__()
            setattr(self, name, value)

    expected = [f"{name!r} is a setting of every Node: rename your own attribute"]
    with pytest.raises(ValueError, match=f"{name} must be") as caught:
        Priced()
    assert caught.value.__notes__ == expected
    with pytest.raises(ValueError, match=f"{name} must be") as caught:
        type("OnClass", (Node,), {name: value})
    assert caught.value.__notes__ == expected
    with pytest.raises(ValueError, match=f"{name} must be") as caught:
        Node(**{name: value})
    assert not hasattr(caught.value, "__notes__")  # a keyword is nobody's attribute


@pytest.mark.parametrize(
    "name", ["_lifecycle", "exec_is_plain", "hook_kinds", "run_within", "_plan", "_successors"]
)
def test_a_name_of_the_engine_is_refused_on_the_object(name: str) -> None:
    """`self.exec_is_plain = True` would turn retries off without a word."""
    with pytest.raises(AttributeError, match=f"{name} is a name that the engine uses"):
        setattr(Graph(Node()), name, True)
    node = Node()
    node._mine = 3  # type: ignore[attr-defined]
    assert node._mine == 3  # type: ignore[attr-defined]


def test_a_setting_that_is_deleted_is_that_of_the_class() -> None:
    """And the run follows."""

    class Flaky(Doubled):
        max_retries = 2

        async def exec(self, number: int, /) -> int:
            if self.attempt == 1:
                raise ValueError("first")
            return 0

    node = Flaky(max_retries=1)
    with pytest.raises(ValueError, match="first"):
        node.run()
    del node.max_retries
    node.run()


def test_settings_of_a_pipeline_are_checked_wherever_they_are_set() -> None:
    """On the class, by keyword, and later."""

    class Narrow(Pipeline):
        buffer = 2

    assert Narrow(Doubled()).buffer == 2
    assert Pipeline(Doubled(), Doubled()).buffer == 64
    pipeline = Pipeline(Doubled(), Doubled(), buffer=3, name="mine") | Doubled()
    assert isinstance(pipeline, Pipeline)
    assert (pipeline.buffer, pipeline.name) == (3, "mine")
    for wrong in (0, True, "many"):
        with pytest.raises(ValueError, match="buffer must be"):
            pipeline.buffer = wrong  # type: ignore[assignment]
        with pytest.raises(ValueError, match="buffer must be"):
            Pipeline(Doubled(), buffer=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"unknown setting 'bufer'.*Did you mean 'buffer'"):
        Pipeline(Doubled(), bufer=3)  # type: ignore[call-arg]


def test_a_setting_of_another_class_is_refused_with_where_it_belongs() -> None:
    """A single node takes no `on_error`, for which there is an edge, and no `max_workers`."""
    with pytest.raises(TypeError, match=r"wire an edge: node - 'error' >> handler$"):
        Doubled(on_error="collect")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"ParallelBatchNode and Graph have it$"):
        Doubled(max_workers=3)  # type: ignore[call-arg]


def test_a_limit_of_a_graph_can_be_taken_back() -> None:
    """None is no limit, on an object as well."""
    graph = Graph(Doubled(), max_workers=3)
    graph.max_workers = None
    graph.run()
    assert graph.max_workers is None


def test_a_base_node_with_work_runs_without_any_limit() -> None:
    """It takes a name, and is called like every node."""

    class Bare(BaseNode[Any, Any]):
        def exec(self, item: Any, /) -> int:
            return self.attempt

        def post(self, shared: Any, prep_res: Any, exec_res: Any, /) -> None:
            shared["attempt"] = exec_res

    shared: dict[str, Any] = {}
    Graph([Bare(), Bare(name="other")]).run({})
    Bare().run(shared)
    assert shared == {"attempt": 1}
    with pytest.raises(AttributeError, match="retry is not a setting of a BaseNode"):
        Bare().retry = Retry(attempts=3)  # type: ignore[attr-defined]


def test_a_rate_is_kept_as_what_it_is_given_for() -> None:
    """Set on an object, on a class and by keyword it is the same tuple."""
    limit = RateLimit(10, per=1)
    node = Node(rate=limit)
    other = Node()
    other.rate = [limit]
    assert node.rate == other.rate == type("Rated", (Node,), {"rate": limit})().rate == (limit,)


@pytest.mark.parametrize(
    ("kind", "settings", "why"),
    [
        (Node, {"memory_limit": "1 GB"}, "memory_limit needs run_in='process'"),
        (Node, {"start_timeout": 5}, "start_timeout needs run_in='process'"),
        (BatchNode, {"chunksize": 4}, "chunksize needs run_in='process'"),
        (ParallelBatchNode, {"max_per_key": 2}, "max_per_key needs limit_by="),
        (MapReduceNode, {"cache": Cache(":memory:")}, "there is no exec here"),
        (ReadText, {"cache": Cache(":memory:")}, "this node produces the items"),
    ],
)
def test_a_setting_without_the_one_that_it_needs_is_refused(
    kind: Any, settings: dict[str, Any], why: str
) -> None:
    """By keyword, and on a class, which a program may set where it reads its configuration."""
    with pytest.raises((ValueError, NodeDefinitionError), match=why):
        kind(**settings)
    with pytest.raises((ValueError, NodeDefinitionError), match=why):
        type("Own", (kind,), settings)
