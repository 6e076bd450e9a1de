"""What map-reduce refuses, and what it leaves out, so that no result is lost in silence."""

from dataclasses import dataclass
from typing import Any

import pytest

from kaygraph import BatchGraph, Drop, ItemStarted, MapReduceNode, NodeDefinitionError, RunReport


@dataclass(frozen=True)
class Point:
    """Equal points may have different reprs: 1 and 1.0."""

    x: float


class Ones(MapReduceNode):
    """Counts the items that are equal."""

    partitions = 8

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    async def map(self, item: Any) -> Any:
        return [(item, 1)]

    async def reduce(self, key: Any, values: list[int]) -> int:
        return sum(values)

    def post(self, shared: Any, _: Any, counts: Any) -> None:
        shared["counts"] = counts


def test_equal_keys_in_different_partitions_are_an_error() -> None:
    """The two results would hide each other: partition() has to bring them together."""

    class Apart(Ones):
        def partition(self, key: Any) -> int:
            return len(repr(key))

    with pytest.raises(
        NodeDefinitionError, match=r"one of them Point.*define partition\(self, key"
    ):
        Apart().run({"items": [Point(1), Point(1.0)] * 5})


@pytest.mark.parametrize("written", ["in the class", "nowhere"])
def test_equal_keys_are_one_key_whatever_they_look_like(written: str) -> None:
    """With a partition that knows, or with none."""

    class Together(Ones):
        def partition(self, key: Any) -> int:
            return hash(key)

    kind = Together if written == "in the class" else Ones
    shared: dict[str, Any] = {"items": [Point(1), Point(1.0)] * 5}
    kind().run(shared)
    assert shared["counts"] == {Point(1): 10}


@pytest.mark.parametrize("written", ["def", "async def"])
def test_drop_in_reduce_leaves_out_its_key_alone(written: str) -> None:
    """The other keys of the same partition keep their results."""

    class Some(Ones):
        partitions = 1

    def reduce(self: Any, key: int, values: list[int]) -> int:
        if key == 3:
            raise Drop
        return sum(values)

    async def later(self: Any, key: int, values: list[int]) -> int:
        return reduce(self, key, values)

    kind = type("Kind", (Some,), {"reduce": reduce if written == "def" else later})
    shared: dict[str, Any] = {"items": range(5)}
    kind().run(shared)
    assert shared["counts"] == {0: 1, 1: 1, 2: 1, 4: 1}


def test_map_workers_hold_over_all_rounds_at_once() -> None:
    """Rounds of a BatchGraph that run at once share the workers of the node."""

    class Rounds(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{}] * 5

    report = RunReport()
    started: list[ItemStarted] = []
    Rounds(Ones(map_workers=2), max_workers=5, on_conflict="ignore").run(
        {"items": range(20)},
        observers=[report, lambda e: started.append(e) if isinstance(e, ItemStarted) else None],
    )
    assert len([event for event in started if event.node.endswith("/map")]) == 100
    assert report.nodes["Ones/map"].peak <= 2


@pytest.mark.parametrize("hook", ["exec", "exec_fallback"])
def test_hook_that_nobody_would_call_is_refused(hook: str) -> None:
    """map and reduce are the work; an exec in addition is a mistake."""
    with pytest.raises(NodeDefinitionError, match=f"defines {hook}"):
        type("Busy", (MapReduceNode,), {hook: lambda self, *_: None})


def test_collecting_is_refused_on_a_class_too() -> None:
    """A dict of results has no place for outcomes, however it is asked for."""
    with pytest.raises(ValueError, match="has no place"):
        type("Collects", (MapReduceNode,), {"on_error": "collect"})


@pytest.mark.parametrize("given", [None, 7, {("a", "b"): 1}, "ab", [1], [("a", 1, 2)], ["word"]])
@pytest.mark.parametrize("written", ["def", "async def"])
def test_what_is_not_a_pair_is_reported(written: str, given: Any) -> None:
    """A dict, above all: its keys would be taken, and be pairs now and then."""

    class Wrong(Ones):
        def map(self, _: Any) -> Any:
            return given

    class WrongLater(Ones):
        async def map(self, _: Any) -> Any:
            return given

    kind = Wrong if written == "def" else WrongLater
    with pytest.raises(NodeDefinitionError, match=r"must return or yield \(key, value\) pairs"):
        kind().run({"items": [1]})


def test_an_error_of_a_generator_of_pairs_is_its_own() -> None:
    """It is not taken for one of the pairs."""

    class Fails(Ones):
        def map(self, item: Any) -> Any:
            yield item, 1
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Fails().run({"items": [1]})
