"""Wrapped nodes: like the ones that were given, in all but their faults."""

import asyncio
import pickle
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from kaygraph import (
    Graph,
    ItemFinished,
    MapReduceNode,
    Node,
    first_of,
)
from kaygraph.testing import Faults, InjectedError, simulate
from tests.testing.graphs import Sleep, Work
from tests.testing.kinds import KINDS, Doubles, Gets, GetsInThread, Numbers, statuses


def test_the_node_that_was_given_is_as_it_was() -> None:
    """Neither it nor its class knows anything of faults."""
    node = Gets(range(3))
    wrapped = Faults(fail=1.0).wrap(node)
    assert wrapped is not node
    assert isinstance(wrapped, Gets)
    assert type(node) is Gets
    assert "exec" not in vars(node)
    assert simulate(node).shared["results"] == [0, 1, 2]
    assert simulate(Gets(range(3))).shared["results"] == [0, 1, 2]
    assert simulate(wrapped).shared["results"] == ["failed"] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_names_settings_and_the_way_exec_is_written_stay(kind: type[Gets]) -> None:
    """What the engine goes by is what it was."""
    node = kind(range(2), max_retries=2, timeout=9, name="mine")
    wrapped = Faults().wrap(node)
    assert wrapped.name == "mine"
    assert wrapped.has_given_name
    assert (wrapped.max_retries, wrapped.timeout, wrapped.max_workers) == (2, 9, 4)
    assert wrapped.exec_kind == node.exec_kind
    assert wrapped.exec_is_plain == node.exec_is_plain
    assert repr(wrapped) == repr(node)
    assert Faults().wrap(kind()).name == kind.__name__
    assert simulate(wrapped).shared == simulate(node).shared
    assert simulate(Faults().wrap(Graph(kind()))).trace == simulate(Graph(kind())).trace


def test_a_graph_is_wrapped_with_all_within() -> None:
    """Inner graphs, groups and pipelines; loops and error routes lead where they led."""
    inner = Graph(Sleep(name="deep") >> Sleep(name="deeper"), name="inner")
    group = first_of(Sleep(name="quick") >> Sleep(name="then"), Sleep(9, name="slow"))
    stages = Numbers(name="read") | Work(name="get") | Work(name="put")
    last, rescue = Sleep(name="last"), Node(name="rescue")
    graph = Graph(Sleep(name="first") >> [inner, group] >> stages >> last)
    last - "error" >> rescue
    plain = simulate(graph)
    same = simulate(Faults().wrap(graph))
    assert same.trace == plain.trace
    delayed = simulate(Faults(delay=100).wrap(graph))
    ended = [event for event in delayed.events if isinstance(event, ItemFinished)]
    assert {event.node for event in ended} == {
        "first", "inner/deep", "inner/deeper", "BranchGroup/quick/quick", "BranchGroup/slow",
        "Pipeline/get", "Pipeline/put", "last",
    }  # fmt: skip
    assert all(event.seconds >= 100 for event in ended)
    assert delayed.seconds > 101 + 202 + 200 + 101
    failing = simulate(Faults(script={None: ["ok"] * 99}).wrap(graph))
    assert failing.trace == plain.trace
    assert [node.name for node in graph.plan.steps][:1] == ["first"]
    assert repr(Faults().wrap(graph)) == repr(graph)
    assert simulate(graph).trace == plain.trace  # as it was


def test_a_graph_that_has_run_can_be_wrapped() -> None:
    """What it knows of its own nodes is not taken over."""
    graph = Graph(Sleep())
    assert simulate(graph).seconds == 1
    assert simulate(Faults(delay=5).wrap(graph)).seconds == 6
    assert simulate(graph).seconds == 1


def test_an_error_route_is_taken_when_a_wrapped_node_fails() -> None:
    """It leads to the wrapped neighbour."""

    class Rescues(Node[Any, Any]):
        def prep(self, shared: Any) -> None:
            shared["error"] = self.error

    node = Sleep()
    node - "error" >> Rescues()
    run = simulate(Faults(script=[OSError("down")]).wrap(Graph(node)))
    assert isinstance(run.shared["error"], OSError)


def test_a_node_keeps_its_neighbours_when_it_is_wrapped_alone() -> None:
    """Wrapped before or after it was wired."""
    end = Sleep(name="end")
    first = Sleep(name="start")
    first >> end
    run = simulate(Graph(Faults(delay=5).wrap(first)))
    assert run.seconds == 7
    run = simulate(Graph(Faults(delay=5).wrap(Sleep()) >> Faults(delay=20).wrap(end)))
    assert run.seconds == 27


def test_a_stage_of_a_pipeline_can_be_wrapped() -> None:
    """Alone, before it is put into one."""
    run = simulate(Graph(Numbers() | Faults(script={3: [ValueError]}).wrap(Work(on_error="skip"))))
    assert [how for how, _ in statuses(run.events).values()].count("skipped") == 1


def test_map_and_reduce_meet_faults() -> None:
    """Both kinds of work, each with its own items."""

    class Count(MapReduceNode):
        def prep(self, _: Any) -> list[str]:
            return ["a b", "b c"]

        def map(self, line: str) -> Iterator[tuple[str, int]]:
            for word in line.split():
                yield word, 1

        async def reduce(self, key: str, values: list[int]) -> int:
            return sum(values)

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["counts"] = results

    node = Count(max_retries=2)
    assert simulate(node).seconds == 0  # what a run has noted on it is not handed on
    run = simulate(Faults(script={"a b": [ValueError], "c": [(4.0, OSError)]}).wrap(node))
    assert run.shared["counts"] == {"a": 1, "b": 2, "c": 1}
    assert run.report.retries == 2
    assert run.seconds == 4
    failing = Faults(fail=1.0).wrap(node)
    with pytest.raises(ExceptionGroup) as caught:
        simulate(failing)
    assert caught.group_contains(InjectedError)
    assert simulate(node).report.retries == 0


def test_nodes_without_work_are_left_alone() -> None:
    """prep and post are all they are."""
    run = simulate(Faults(fail=1.0).wrap(Graph(Node() >> Node())))
    assert run.report.submitted == 0


def test_two_nodes_of_one_name_in_a_graph_are_two() -> None:
    """What happens to one says nothing of the other."""
    both = set()
    for seed in range(30):
        graph = Faults(seed, fail=0.5).wrap(Graph(Gets([0]) >> Gets([0])))
        both.add(tuple(how for how, _ in statuses(simulate(graph).events).values()))
    assert len(both) == 4


def test_only_nodes_can_be_wrapped() -> None:
    """A chain belongs into a graph first."""
    with pytest.raises(TypeError, match="faults are for nodes and graphs"):
        Faults().wrap(Sleep() >> Sleep())  # type: ignore[type-var]


def test_exec_can_be_called_by_hand() -> None:
    """As in a unit test of a node: the first attempt."""
    node = Faults(script=[ValueError]).wrap(GetsInThread())
    with pytest.raises(ValueError):  # noqa: PT011 - raised by its class alone
        node.exec(3)
    assert Faults().wrap(GetsInThread()).exec(3) == 3


def test_a_wrapped_node_goes_to_a_process() -> None:
    """Its class stands in no module, and is made again there."""
    node = Faults(3, fail=0.5).wrap(GetsInThread(range(20), name="far"))
    copied = pickle.loads(pickle.dumps(node))
    assert isinstance(copied, GetsInThread)
    assert copied.name == "far"
    here, there = simulate(node).shared, simulate(copied).shared
    assert here == there
    assert "failed" in here["results"]


def test_the_seed_of_a_simulation_reaches_its_processes() -> None:
    """Faults without a seed of their own are the same there as here."""
    faults = Faults(fail=0.5)
    for seed in (0, 5):
        far = simulate(faults.wrap(Doubles(run_in="process", max_workers=1)), seed=seed).shared
        assert far == simulate(faults.wrap(Doubles()), seed=seed).shared
        assert "failed" in far["results"]


def test_a_delay_on_a_real_loop_takes_real_time() -> None:
    """Outside of a simulation nothing is pretended."""
    began = time.monotonic()
    with suppress(InjectedError):
        asyncio.run(Faults(delay=0.02, fail=1.0).wrap(Sleep(0)).run_async({}))
    assert time.monotonic() - began >= 0.02


def test_repr_tells_the_chances() -> None:
    """What a failing test shows."""
    assert repr(Faults(3, fail=0.1)) == "Faults(seed=3, fail=0.1, hang=0, delay=(0.0, 0.0))"
