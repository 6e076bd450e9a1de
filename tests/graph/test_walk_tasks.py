"""What the walk costs in tasks, and where it leads when a node fails."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from kaygraph import AsyncNode, Graph, Node, ParallelBatchNode
from tests.oracle import Trace, Visit, settle, visits

pytestmark = pytest.mark.anyio


# --- tasks -------------------------------------------------------------------------------------


class Counting:
    """A task factory that counts the tasks made while it is set."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, loop: Any, coroutine: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
        self.made += 1
        return asyncio.Task(coroutine, loop=loop, **kwargs)

    async def while_running(self, graph: Graph, shared: Any) -> int:
        """Run a graph and return how many tasks that made."""
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self)
        try:
            await graph.run_async(shared)
        finally:
            loop.set_task_factory(None)
        return self.made


async def test_graph_that_never_fans_out_creates_no_task() -> None:
    """A sequential walk is a plain loop: branches, loops and nested graphs make no task."""
    a, c, d = visits("acd")
    b = Visit("b", "again", "again", "go")
    inner = Graph(visits("x")[0] >> Visit("y", ValueError("y")) - "error" >> Visit("z"))
    a >> b - "again" >> c >> b
    b - "go" >> inner >> d
    trace = Trace()
    assert await Counting().while_running(Graph(a), trace) == 0
    assert trace.ended == ["a", "b", "c", "b", "c", "b", "x", "z", "d"]


async def test_fan_out_creates_one_task_a_branch() -> None:
    """A fan-out pays for its branches and for nothing else."""
    a, b, c, d, e = visits("abcde")
    a >> [b, c, d] >> e
    assert await Counting().while_running(Graph(a), Trace()) == 3


class Rounds(AsyncNode):
    """Returns "again" until it has run so many times, and notes how many tasks there were."""

    def post(self, shared: dict[str, int], prep_res: Any, exec_res: Any) -> str | None:
        shared["rounds"] = shared.get("rounds", 0) + 1
        shared["tasks"] = max(shared.get("tasks", 0), len(asyncio.all_tasks()))
        return "again" if shared["rounds"] < shared["most"] else None


class Pauses(AsyncNode):
    """Gives its turn away so many times."""

    def __init__(self, pauses: int) -> None:
        super().__init__()
        self.pauses = pauses

    async def exec(self, prep_res: Any) -> None:
        for _ in range(self.pauses):
            await asyncio.sleep(0)


async def test_rounds_of_a_loop_around_a_fan_out_do_not_pile_up() -> None:
    """3,000 rounds of `a >> [b, c] >> d; d - "again" >> a` keep no task from round to round."""
    a, d = Pauses(0), Rounds()
    a >> [Pauses(0), Pauses(1)] >> d
    d - "again" >> a
    shared = {"most": 3000}
    await Graph(a).run_async(shared)
    assert shared["rounds"] == 3000
    assert shared["tasks"] <= 4


@pytest.mark.parametrize("pauses", range(8))
async def test_rounds_of_a_loop_around_nested_fan_outs_do_not_pile_up(pauses: int) -> None:
    """The same where a branch fans out itself, however the branches meet in time."""
    a, b, d = Pauses(0), Pauses(0), Rounds()
    a >> [b >> [Pauses(0), Pauses(0)], Pauses(pauses)] >> d
    d - "again" >> a
    shared = {"most": 200}
    await Graph(a).run_async(shared)
    assert shared["rounds"] == 200
    assert shared["tasks"] <= 12


@pytest.mark.parametrize("pauses", range(4))
async def test_rounds_of_a_loop_within_a_branch_do_not_pile_up(pauses: int) -> None:
    """A branch that fans out and joins round by round leaves no task behind either."""
    start, a, d, end = Pauses(0), Pauses(0), Rounds(), Pauses(0)
    start >> [a, Pauses(pauses)]
    a >> [Pauses(0), Pauses(1)] >> d >> end
    d - "again" >> a
    shared = {"most": 200}
    await Graph(start).run_async(shared)
    assert shared["rounds"] == 200
    assert shared["tasks"] <= 8


async def test_sequential_rounds_do_not_pile_up() -> None:
    """A loop of 3,000 rounds without a fan-out runs in the task that called it."""
    rounds = Rounds()
    rounds - "again" >> rounds
    shared = {"most": 3000}
    before = len(asyncio.all_tasks())
    await Graph(rounds).run_async(shared)
    assert shared == {"most": 3000, "rounds": 3000, "tasks": before}


# --- joins of two loops ----------------------------------------------------------------------


async def test_joins_of_two_loops_that_hold_each_other_up_do_not_deadlock() -> None:
    """Each of two joins may send the walk back to where the other is reached from: both run."""
    v, p, q, r, j, k = visits("vpqrjk")
    v >> [p, q, r]
    [p, r] >> j
    [q, r] >> k
    [j - "again" >> v, k - "again" >> v]
    trace = await walk(v)
    assert sorted(trace.ended) == sorted("vpqrjk")


async def test_join_that_no_running_node_holds_up_waits_for_a_join_before_it() -> None:
    """c holds up d, by two loops, and not f; f follows d, so both wait for c."""
    a, c, d, e, f = Visit("a", "left"), Visit("c"), Visit("d", "on"), Visit("e", "both"), Visit("f")
    d - "on" >> f
    d - "back" >> a
    e - "both" >> f
    e - "back" >> a
    a - "down" >> d
    f - "back" >> d
    a - "left" >> e
    a - "across" >> c
    e - "both" >> c
    c - "back" >> e
    trace = Trace(gates={"c": asyncio.Event()})
    run = asyncio.create_task(Graph([a, d]).run_async(trace))
    await settle()
    assert trace.began == ["a", "e", "c"]
    trace.gates["c"].set()
    await run
    assert trace.began == ["a", "e", "c", "d", "f"]


# --- error routes ------------------------------------------------------------------------------


async def walk(start: Any) -> Trace:
    trace = Trace()
    async with asyncio.timeout(10):
        await Graph(start).run_async(trace)
    return trace


async def test_error_route_is_taken_with_the_error_at_hand() -> None:
    """`a - "error" >> b` runs b when a has failed, with the exception at `self.error`."""
    failure = ValueError("a")
    a, b, c = Visit("a", failure), Visit("b"), Visit("c")
    a - "error" >> b >> c
    a >> Visit("never")
    trace = await walk(a)
    assert trace.began == ["a", "b", "c"]
    assert trace.error_of("b") is failure
    assert trace.error_of("a") is None
    assert trace.error_of("c") is None


async def test_error_route_is_not_taken_by_a_node_that_works() -> None:
    """An `- "error"` edge changes nothing where nothing fails."""
    a, b, c = visits("abc")
    a - "error" >> b
    a >> c
    assert (await walk(a)).began == ["a", "c"]


async def test_error_route_is_taken_once_attempts_and_fallback_are_spent() -> None:
    """A node fails for good only after its last attempt; a fallback's error is the one shown."""

    class Fails(AsyncNode):
        async def exec(self, prep_res: Any) -> None:
            attempts.append(self.attempt)
            raise ValueError(self.attempt)

        def exec_fallback(self, prep_res: Any, exc: Exception) -> None:
            raise KeyError("fallback") from exc

    attempts: list[int] = []
    fails, b = Fails(max_retries=3), Visit("b")
    fails - "error" >> b
    trace = await walk(fails)
    assert attempts == [1, 2, 3]
    error = trace.error_of("b")
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize("hook", ["prep", "post"])
async def test_error_route_is_taken_when_another_hook_fails(hook: str) -> None:
    """A node fails by its prep and its post as well."""

    def fail(*_: Any) -> None:
        raise ValueError(hook)

    node, b = type("Fails", (Node,), {hook: fail})(), Visit("b")
    node - "error" >> b
    assert str((await walk(node)).error_of("b")) == hook


async def test_error_route_may_lead_to_several_nodes() -> None:
    """Each of them sees the error."""
    failure = ValueError("a")
    a, b, c = Visit("a", failure), Visit("b"), Visit("c")
    a - "error" >> [b, c]
    trace = await walk(a)
    assert trace.errors == [None, failure, failure]


async def test_error_route_into_the_join_joins_once() -> None:
    """A failed branch that leads into the join counts as one that arrives."""
    failure = ValueError("b")
    a, b, c, d = Visit("a"), Visit("b", failure), Visit("c"), Visit("d")
    a >> [b, c] >> d
    b - "error" >> d
    trace = await walk(a)
    assert trace.ended == ["a", "c", "d"]
    assert trace.error_of("d") is failure


async def test_join_on_several_error_routes_gets_all_errors() -> None:
    """As a group, in which each error has its place; the node after it gets none."""
    failures = ValueError("b"), KeyError("c")
    a, d = visits("ad")
    b, c = Visit("b", failures[0]), Visit("c", failures[1])
    a >> [b, c]
    [b - "error" >> d, c - "error" >> d]
    d >> (after := Visit("after"))
    trace = await walk(a)
    group = trace.error_of("d")
    assert isinstance(group, ExceptionGroup)
    assert (group.message, group.exceptions) == ("2 nodes failed", failures)
    assert [error.__notes__ for error in failures] == [["in node 'b'"], ["in node 'c'"]]
    assert trace.error_of(after.name) is None


async def test_error_route_in_a_branch_leaves_the_siblings_alone() -> None:
    """A failure with a way on cancels nobody."""
    a, b, c, d, e = Visit("a"), Visit("b", ValueError("b")), Visit("c"), Visit("d"), Visit("e")
    a >> [b, c] >> d
    b - "error" >> e >> d
    trace = Trace(gates={"c": asyncio.Event()})
    run = asyncio.create_task(Graph(a).run_async(trace))
    await settle()
    assert trace.ended == ["a", "e"]
    trace.gates["c"].set()
    await run
    assert trace.ended == ["a", "e", "c", "d"]


async def test_error_route_may_retry_the_node() -> None:
    """`a - "error" >> a` sees the error of its last visit."""
    failure = ValueError("first")
    a = Visit("a", failure, "done")
    a - "error" >> a
    a - "done" >> Visit("b")
    trace = await walk(a)
    assert trace.began == ["a", "a", "b"]
    assert trace.errors == [None, failure, None]


async def test_failure_in_a_nested_graph_takes_the_route_of_the_graph() -> None:
    """An error that no inner node listens to is the graph's own."""
    failure = ValueError("x")
    inner = Graph(Visit("w") >> Visit("x", failure) >> Visit("y"), name="inner")
    b = Visit("b")
    inner - "error" >> b
    trace = await walk(inner)
    assert trace.began == ["w", "x", "b"]
    assert trace.error_of("b") is failure


async def test_error_route_within_a_nested_graph_keeps_the_error_there() -> None:
    """An inner node that listens to an error deals with it: the outer graph goes on."""
    x, y = Visit("x", ValueError("x")), Visit("y")
    x - "error" >> y
    trace = await walk(Graph(x) >> Visit("b"))
    assert trace.began == ["x", "y", "b"]
    assert trace.error_of("b") is None


async def test_error_route_into_a_nested_graph_shows_the_error_there() -> None:
    """A graph that stands on an error route, and what runs in it, can read the error."""
    failure = ValueError("a")
    a = Visit("a", failure)
    a - "error" >> Graph(Visit("x"))
    assert (await walk(a)).error_of("x") is failure


async def test_errors_of_tokens_on_the_same_node_are_not_mixed_up() -> None:
    """Two tokens that fail on the same node at once each show their own error."""

    class Fails(AsyncNode):
        async def exec(self, prep_res: Any) -> None:
            failures.append(ValueError(len(failures)))
            mine = failures[-1]
            if len(failures) == 2:
                both.set()
            await both.wait()
            raise mine

    failures: list[ValueError] = []
    both = asyncio.Event()
    a = Visit("a", "fork", "go", "go")
    b, c = Visit("b", "back"), Visit("c", "back")
    fails = Fails()
    seen = [Visit("x"), Visit("y")]
    a - "fork" >> [b, c]
    [b - "back" >> a, c - "back" >> a]
    a - "go" >> fails
    fails - "error" >> seen
    trace = await walk(a)
    for node in seen:
        shown = [
            error
            for name, error in zip(trace.began, trace.errors, strict=True)
            if name == node.name
        ]
        assert sorted(map(str, shown)) == ["0", "1"]


async def test_failed_item_of_a_batch_takes_the_route_of_the_batch() -> None:
    """A batch fails for good with the error of its item."""

    class Batch(ParallelBatchNode):
        def prep(self, shared: Any) -> range:
            return range(5)

        async def exec(self, item: int) -> int:
            return 1 // (item - 3)

    batch, b = Batch(max_workers=1), Visit("b")
    batch - "error" >> b
    assert isinstance((await walk(batch)).error_of("b"), ZeroDivisionError)


async def test_cancellation_takes_no_error_route() -> None:
    """A cancelled run ends as cancelled, whatever listens to errors."""
    a, b = visits("ab")
    a - "error" >> b
    trace = Trace(gates={"a": asyncio.Event()})
    run = asyncio.create_task(Graph(a).run_async(trace))
    await settle()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert trace.began == ["a"]


async def test_failure_without_a_route_cancels_the_siblings_and_is_raised() -> None:
    """One failure cancels its siblings, waits for them, and is raised as itself with its place."""
    failure = ValueError("b")
    a, b, c, d = Visit("a"), Visit("b", failure), Visit("c"), Visit("d")
    a >> [b, c] >> d
    trace = Trace(gates={"c": asyncio.Event()})
    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="b") as caught:
        await Graph(a).run_async(trace)
    assert caught.value is failure
    assert caught.value.__notes__ == ["in node 'b'"]
    assert trace.ended == ["a"]
    assert asyncio.all_tasks() == before
