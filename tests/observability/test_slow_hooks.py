"""``slow_hook_s``: a hook that blocks the event loop is reported once, with its node's name.

Nodes hold the loop with ``time.sleep``, on a clock of their own: a machine that is busy may stop a
process for longer than a hook here takes. What a warning says is measured in real time.
"""

import asyncio
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest

from kaygraph import (
    AsyncNode,
    BatchGraph,
    BatchNode,
    Graph,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    Retry,
    SlowHookWarning,
    all_of,
    first_of,
    settle,
)
from kaygraph.observability import slow_hooks
from kaygraph.types import BranchGroup
from tests.clock import VirtualClockLoop, run_virtually

LIMIT_S = 0.03
HELD_S = 0.05

HOOKS = ["prep", "exec", "post", "prep_late", "exec_late", "post_late"]


class Holds(AsyncNode):
    """A node that holds the loop in one of its hooks, before it waits there or after."""

    def __init__(self, name: str, hook: str = "", seconds: float = HELD_S, **settings: Any) -> None:
        super().__init__(name=name, **settings)
        self.hook, self.seconds = hook, seconds

    async def part(self, hook: str) -> None:
        if self.hook == hook:
            time.sleep(self.seconds)  # noqa: ASYNC251 - that is what is looked for
        await asyncio.sleep(0)
        if self.hook == f"{hook}_late":
            time.sleep(self.seconds)  # noqa: ASYNC251

    async def prep(self, _: Any) -> Any:
        await self.part("prep")
        return [1]

    async def exec(self, item: Any) -> Any:
        await self.part("exec")
        return item

    async def post(self, *_: Any) -> Any:
        await self.part("post")


class HoldsSync(Node):
    """The same with hooks that are plain functions."""

    def __init__(self, name: str, hook: str = "", **settings: Any) -> None:
        super().__init__(name=name, **settings)
        self.hook = hook

    def prep(self, _: Any) -> Any:
        self.part("prep")
        return [1]

    def exec(self, item: Any) -> Any:
        self.part("exec")
        return item

    def post(self, *_: Any) -> Any:
        self.part("post")

    def part(self, hook: str) -> None:
        if self.hook == hook:
            time.sleep(HELD_S)


class Rounds(BatchGraph):
    def prep(self, _: Any) -> Any:
        return [{}, {}]


class Clock(threading.local):
    """Moves where something holds its thread, and on a virtual loop where all wait as well."""

    held = 0.0

    def sleep(self, seconds: float) -> None:
        self.held += seconds

    def monotonic(self) -> float:
        loop = asyncio.get_running_loop()
        return self.held + (loop.time() if isinstance(loop, VirtualClockLoop) else 0.0)


def reported(graph: Graph, alone: bool = False) -> list[str]:
    """Run a graph, on a loop or alone in this thread; return the reported names, in order."""
    clock = Clock()
    with (
        warnings.catch_warnings(record=True) as caught,
        patch.object(slow_hooks, "time", clock),
        patch.dict(globals(), time=clock),
    ):
        warnings.simplefilter("always")
        graph.run({}) if alone else run_virtually(graph.run_async({}))
    slow = [str(one.message) for one in caught if one.category is SlowHookWarning]
    return [re.findall(r"node '([^']*)'", message)[0] for message in slow]


# --- who is reported ------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_that_holds_the_loop_is_reported(hook: str) -> None:
    """Each hook, before and after its waits, in a chain and in parallel with another branch."""
    for graph in (
        Graph(Holds("a") >> Holds("b", hook) >> Holds("c"), slow_hook_s=LIMIT_S),
        Graph(Holds("a") >> [Holds("b", hook), Holds("c")], slow_hook_s=LIMIT_S),
    ):
        assert reported(graph) == ["b"]


@pytest.mark.parametrize("hook", ["prep", "exec", "post"])
def test_plain_hook_that_holds_the_loop_is_reported(hook: str) -> None:
    """A ``def exec`` does so only where it was asked to run on the loop."""
    for place, expected in (("loop", ["b"]), (None, [] if hook == "exec" else ["b"])):
        node = HoldsSync("b", hook, run_in=place)
        assert reported(Graph(Holds("a") >> node, slow_hook_s=LIMIT_S)) == expected


def test_warning_says_how_long_and_what_to_do() -> None:
    """The message is one that a user can act on."""
    with pytest.warns(SlowHookWarning) as caught:
        asyncio.run(Graph(Holds("a", "exec"), slow_hook_s=LIMIT_S).run_async({}))
    (message,) = (str(one.message) for one in caught)
    seconds = re.search(r"for ([0-9.]+) s", message)
    assert seconds is not None
    assert HELD_S <= float(seconds[1]) < 10
    assert message.replace(seconds[1], "…") == (
        "node 'a' blocked the event loop for … s (slow_hook_s=0.03), so nothing else "
        "could run. Await slow calls, or write exec as 'def' to run it in a thread"
    )


def test_node_is_reported_once_a_run() -> None:
    """However often it holds the loop, and again in the next run."""

    class Often(Holds):
        async def exec(self, item: Any) -> Any:
            for _ in range(3):
                await self.part("exec")

        def post(self, shared: Any, *_: Any) -> str | None:  # type: ignore[override]
            shared["rounds"] = shared.get("rounds", 0) + 1
            return "again" if shared["rounds"] < 2 else None

    node = Often("a", "exec", seconds=0.035)
    node - "again" >> node
    graph = Graph(node, slow_hook_s=LIMIT_S)
    assert reported(graph) == ["a"]
    assert reported(graph) == ["a"]


def test_every_slow_node_is_reported() -> None:
    """Two nodes are two warnings, in the order in which they held the loop."""
    nodes = Holds("a", "post") >> Holds("b", "prep") >> [Holds("c", "exec"), Holds("d")]
    assert reported(Graph(nodes, slow_hook_s=LIMIT_S)) == ["a", "b", "c"]


def test_node_that_fails_is_reported() -> None:
    """Also where the next step is on its error route, or another attempt, or the fallback."""

    class Fails(Holds):
        async def exec(self, _: Any) -> Any:
            await self.part("exec")
            raise ValueError

    class FallsBack(Fails):
        async def exec_fallback(self, *_: Any) -> None:
            await self.part("fallback")

    a, handler = Fails("a", "exec"), Holds("handler", "exec")
    a - "error" >> handler
    assert reported(Graph(a, slow_hook_s=LIMIT_S)) == ["a", "handler"]
    assert reported(Graph(FallsBack("a", "fallback"), slow_hook_s=LIMIT_S)) == ["a"]
    again = FallsBack("a", "exec", retry=Retry(attempts=2))
    assert reported(Graph(again, slow_hook_s=LIMIT_S)) == ["a"]


@pytest.mark.parametrize("workers", [1, 3])
def test_item_of_a_batch_is_reported_with_the_node(workers: int) -> None:
    """Items that hold the loop, whichever worker has them."""

    class Batch(ParallelBatchNode[int, int]):
        def prep(self, _: Any) -> range:
            return range(5)

        async def exec(self, item: int) -> int:
            if item == 3:
                time.sleep(HELD_S)  # noqa: ASYNC251
            await asyncio.sleep(0)
            return item

    assert reported(Graph(Batch(max_workers=workers), slow_hook_s=LIMIT_S)) == ["Batch"]


def test_source_of_a_batch_is_reported_with_the_node() -> None:
    """A generator that takes long to give the next item holds the loop as well."""

    class Batch(ParallelBatchNode[int, int]):
        def prep(self, _: Any) -> Iterator[int]:
            yield 1
            time.sleep(HELD_S)
            yield 2

        async def exec(self, item: int) -> int:
            return item

    class Single(Batch, BatchNode[int, int]):
        max_workers = 1

    for batch in (Batch(name="a"), Single(name="a")):
        assert reported(Graph(Holds("first") >> batch, slow_hook_s=LIMIT_S)) == ["a"]


@pytest.mark.parametrize("slow", ["one", "two", "three"])
def test_stage_of_a_pipeline_is_reported(slow: str) -> None:
    """The stage that holds the loop, and not the pipeline."""
    stages = [Holds(name, "exec" if name == slow else "") for name in ("one", "two", "three")]
    pipeline = stages[0] | stages[1] | stages[2]
    assert reported(Graph(pipeline >> Holds("after"), slow_hook_s=LIMIT_S)) == [f"Pipeline/{slow}"]


def test_hooks_of_map_reduce_are_reported() -> None:
    """A MapReduceNode that maps or reduces on the loop."""

    class Count(MapReduceNode):
        def prep(self, _: Any) -> range:
            return range(3)

        async def map(self, item: int) -> Any:
            if self.name == "map" and item == 1:
                time.sleep(HELD_S)  # noqa: ASYNC251
            return [(0, item)]

        async def reduce(self, _: Any, values: list[int]) -> int:
            if self.name == "reduce":
                time.sleep(HELD_S)  # noqa: ASYNC251
            return sum(values)

    for name in ("map", "reduce"):
        (named,) = reported(Graph(Count(name=name), slow_hook_s=LIMIT_S))
        assert named.startswith(name)


@pytest.mark.parametrize("group", [all_of, settle, first_of])
def test_branch_of_a_group_is_reported(group: Callable[..., BranchGroup]) -> None:
    """The node in the branch, and not the group."""
    branches = Holds("a") >> Holds("b", "post"), Holds("c", "exec")
    names = reported(Graph(group(*branches, name="group"), slow_hook_s=LIMIT_S))
    assert set(names) <= {"group/a/b", "group/c"}
    assert "group/c" in names


@pytest.mark.parametrize("workers", [1, 2])
def test_node_in_a_round_is_reported(workers: int) -> None:
    """The node in the round, once for all rounds, and not the graph of the rounds."""
    rounds = Rounds(Holds("a") >> Holds("b", "exec"), max_workers=workers)
    assert reported(Graph(rounds, slow_hook_s=LIMIT_S)) == ["Rounds/b"]
    rounds = Rounds(Holds("a", "post"), max_workers=workers, slow_hook_s=LIMIT_S)
    assert reported(Graph(Holds("first") >> rounds)) == ["Rounds/a"]


# --- graphs in graphs -----------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_inner_node_is_reported_and_not_the_graph_around(hook: str) -> None:
    """A node is reported alone at any depth."""
    inner = Graph(Graph(Holds("a", hook), name="inmost") >> Holds("b"), name="inner")
    assert reported(Graph(Holds("first") >> inner, slow_hook_s=LIMIT_S)) == ["inner/inmost/a"]


@pytest.mark.parametrize("hook", HOOKS)
def test_branch_of_an_inner_graph_is_reported_and_not_the_graph(hook: str) -> None:
    """Wherever a branch takes its first step, it is not a step of the graph that forks."""
    inner = Graph([Holds("a", hook), Holds("b")], name="inner")
    graph = Graph(Holds("first") >> inner, slow_hook_s=LIMIT_S, on_conflict="ignore")
    assert reported(graph) == ["inner/a"]


@pytest.mark.parametrize("hook", ["prep", "post"])
def test_hooks_of_graphs_are_reported_with_the_graph(hook: str) -> None:
    """A graph's own hooks: of one in a line, and of one that is a branch of a group."""

    class Own(Graph):
        def prep(self, _: Any) -> None:
            if hook == "prep":
                time.sleep(HELD_S)

        def post(self, *_: Any) -> None:
            if hook == "post":
                time.sleep(HELD_S)

    assert reported(Graph(Own(Holds("a"), name="own"), slow_hook_s=LIMIT_S)) == ["own"]
    group = all_of(Own(Holds("a"), name="own"), Holds("b"), name="group")
    assert reported(Graph(group, slow_hook_s=LIMIT_S)) == ["group/own"]


def test_inner_graph_says_what_holds_within_it() -> None:
    """A limit of its own stands above the outer one, whichever is longer."""

    def graph(outer: float | None, inner: float | None, fork: bool) -> Graph:
        within = Graph(Holds("a", "exec"), name="inner", slow_hook_s=inner)
        start = Holds("first")
        nodes = start >> [within, Holds("other")] if fork else start >> within
        return Graph(nodes, slow_hook_s=outer)

    for fork in (False, True):
        assert reported(graph(LIMIT_S, None, fork)) == ["inner/a"]
        assert reported(graph(None, LIMIT_S, fork)) == ["inner/a"]
        assert reported(graph(60, LIMIT_S, fork)) == ["inner/a"]
        assert reported(graph(LIMIT_S, 60, fork)) == []


# --- who is not -----------------------------------------------------------------------------------


def test_node_that_waits_is_not_reported() -> None:
    """What is awaited may take as long as it likes, in every hook and every kind of node."""

    class Waits(Holds):
        async def part(self, hook: str) -> None:
            await asyncio.sleep(0.3)

    inner = Graph([Waits("b"), Rounds(Waits("c"), max_workers=2)], name="inner")
    branches = [Waits("a"), inner, all_of(Waits("d"), Waits("e"))]
    assert reported(Graph(Holds("first") >> branches, slow_hook_s=0.25)) == []


def test_threads_are_not_reported() -> None:
    """A ``def exec`` runs in a thread and holds nobody up."""

    class Many(ParallelBatchNode[int, None]):
        def prep(self, _: Any) -> range:
            return range(2)

        def exec(self, item: int) -> None:
            time.sleep(0.3)

    graph = Graph(Holds("first") >> [Many(max_workers=4), Many(max_workers=2)], slow_hook_s=0.25)
    assert reported(graph) == reported(graph, alone=True) == []


def test_run_that_is_alone_in_its_thread_is_not_reported() -> None:
    """With nothing else running, nothing waits for the loop; from a fork on, something does."""
    line = Graph(HoldsSync("a", "exec") >> Holds("b", "prep"), slow_hook_s=LIMIT_S)
    assert reported(line, alone=True) == []
    rounds = Rounds(Holds("a", "exec"), slow_hook_s=LIMIT_S)
    assert reported(rounds, alone=True) == []
    fork = Graph(Holds("a", "exec") >> [Holds("b", "exec"), Holds("c")], slow_hook_s=LIMIT_S)
    assert reported(fork, alone=True) == ["b"]


def test_nobody_looks_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is wrapped, and nothing is reported, without a limit."""

    def refuse(work: Any, *_: Any) -> Any:
        work.close()
        raise AssertionError("wrapped")

    monkeypatch.setattr(slow_hooks, "stepped", refuse)
    graph = Graph(
        Holds("a", "exec")
        >> [Graph(Holds("b", "prep"), name="inner"), all_of(Holds("c"), Holds("d", "post"))]
        >> Rounds(Holds("e"))
        >> (Holds("f") | Holds("g", "exec"))
    )
    assert reported(graph) == reported(graph, alone=True) == []
    with pytest.raises(AssertionError, match="wrapped"):
        asyncio.run(Graph(Holds("a"), slow_hook_s=LIMIT_S).run_async({}))


def test_warning_that_is_an_error_does_not_fail_the_node() -> None:
    """The loop's exception handler gets it: the run itself is in order."""
    handled: list[Any] = []

    async def main() -> str | None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: handled.append(context["exception"]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            action = await Graph(Holds("a", "post"), slow_hook_s=LIMIT_S).run_async({})
            await asyncio.sleep(0)
        return action

    assert asyncio.run(main()) is None
    assert [type(error) for error in handled] == [SlowHookWarning]
