"""The walk: each sentence of its rules is a test here."""

import asyncio
from typing import Any

import pytest

from kaygraph import Graph
from tests.oracle import Trace, Visit, settle, visits

pytestmark = pytest.mark.anyio


async def walk(start: Any) -> Trace:
    """Run a graph to its end and return what happened."""
    trace = Trace()
    async with asyncio.timeout(10):
        await Graph(start).run_async(trace)
    return trace


# --- rule 1: tokens ------------------------------------------------------------------------------


async def test_run_starts_with_one_token_at_the_start_node() -> None:
    """Nodes that nothing leads to do not run, and the start runs once."""
    a, b, stray = visits("abs")
    a >> b
    stray >> b
    assert (await walk(a)).log == ["+a", "-a", "+b", "-b"]


async def test_one_edge_keeps_the_token_in_the_same_task() -> None:
    """One edge: the token moves on, in the same task, also within a branch."""
    a, b, b2, b3, c, d, e = (Visit(name) for name in ("a", "b", "b2", "b3", "c", "d", "e"))
    a >> [b >> b2 >> b3, c] >> d >> e
    trace = await walk(a)
    assert trace.task_of("b") is trace.task_of("b2") is trace.task_of("b3")
    assert trace.task_of("c") is not trace.task_of("b")
    assert trace.task_of("a") is asyncio.current_task()
    assert trace.task_of("d") is trace.task_of("e")


async def test_several_edges_begin_one_token_each_at_once() -> None:
    """Several edges: each target has begun before any of them has ended."""
    a, *branches = visits("abcd")
    a >> branches
    trace = Trace(gates={node.name: asyncio.Event() for node in branches})
    run = asyncio.create_task(Graph(a).run_async(trace))
    await settle()
    assert trace.log == ["+a", "-a", "+b", "+c", "+d"]
    for gate in trace.gates.values():
        gate.set()
    await run
    assert sorted(trace.ended) == ["a", "b", "c", "d"]


async def test_only_the_edges_of_the_action_are_followed() -> None:
    """When a node finishes, the edges of its action are followed, and no others."""
    a = Visit("a", "x")
    b, c, d = visits("bcd")
    a - "x" >> [b, c]
    a >> d
    assert sorted((await walk(a)).ended) == ["a", "b", "c"]


async def test_list_of_starts_begins_at_once() -> None:
    """A graph that starts with a list has a token on each of its nodes."""
    a, b, c = visits("abc")
    [a, b] >> c
    trace = Trace(gates={"a": asyncio.Event(), "b": asyncio.Event()})
    run = asyncio.create_task(Graph([a, b]).run_async(trace))
    await settle()
    assert trace.log == ["+a", "+b"]
    trace.gates["a"].set()
    await settle()
    assert trace.began == ["a", "b"]
    trace.gates["b"].set()
    await run
    assert trace.began == ["a", "b", "c"]


async def test_start_that_another_start_leads_to_waits_for_it() -> None:
    """`Graph([a, b])` with `a >> b` runs b once, after a."""
    a, b = visits("ab")
    a >> b
    assert (await walk([a, b])).log == ["+a", "-a", "+b", "-b"]


# --- rule 2: joins ------------------------------------------------------------------------------


async def test_plain_diamond_joins_once() -> None:
    """The join runs once, after both branches, whichever ends first."""
    for slow in ("b", "c"):
        a, b, c, d = visits("abcd")
        a >> [b, c] >> d
        trace = Trace(gates={slow: asyncio.Event()})
        run = asyncio.create_task(Graph(a).run_async(trace))
        await settle()
        assert "d" not in trace.began
        trace.gates[slow].set()
        await run
        assert trace.ended.count("d") == 1
        assert trace.began[-1] == "d"


@pytest.mark.parametrize("sent_back_to", ["b", "c"])
async def test_diamond_that_sends_one_branch_back_joins_once_before_it(sent_back_to: str) -> None:
    """A reviewer that asks one of two branches to do its part again has seen both before."""
    a, b, c = visits("abc")
    d = Visit("d", "redo")
    a >> [b, c] >> d
    d - "redo" >> {"b": b, "c": c}[sent_back_to]
    trace = await walk(a)
    assert trace.ended == ["a", "b", "c", "d", sent_back_to, "d"]


async def test_diamond_that_sends_its_longer_branch_back_joins_once_before_it() -> None:
    """The same where the branches differ in length, and only the last of the longer is redone."""
    a, b, b2, b3, c = (Visit(name) for name in ("a", "b", "b2", "b3", "c"))
    d = Visit("d", "redo")
    a >> [b >> b2 >> b3, c] >> d
    d - "redo" >> b3
    assert (await walk(a)).ended == ["a", "b", "b2", "b3", "c", "d", "b3", "d"]


async def test_edge_from_the_fan_out_into_the_join_waits_for_the_branch() -> None:
    """`a >> [b, c]; b >> c`: c is a join, and runs once, after b."""
    a, b, c = visits("abc")
    a >> [b, c]
    b >> c
    assert (await walk(a)).log == ["+a", "-a", "+b", "-b", "+c", "-c"]


async def test_branch_that_takes_another_way_does_not_block_the_join() -> None:
    """The join runs once the branch has gone where it cannot come back from."""
    a, c, d, other = Visit("a"), Visit("c"), Visit("d"), Visit("other")
    b = Visit("b", "elsewhere")
    a >> [b, c] >> d
    b - "elsewhere" >> other
    trace = Trace(gates={"other": asyncio.Event()})
    run = asyncio.create_task(Graph(a).run_async(trace))
    await settle()
    assert trace.ended == ["a", "b", "c", "d"]
    assert "other" in trace.began
    trace.gates["other"].set()
    await run
    assert trace.ended.count("d") == 1


async def test_branch_that_takes_another_way_to_the_join_holds_it() -> None:
    """A way around that leads to the join in the end still counts as being able to reach it."""
    a, c, d, e, b2 = Visit("a"), Visit("c"), Visit("d"), Visit("e"), Visit("b2")
    b = Visit("b", "around")
    a >> [b, c] >> d
    b - "around" >> b2 >> e >> d
    trace = Trace(gates={"e": asyncio.Event()})
    run = asyncio.create_task(Graph(a).run_async(trace))
    await settle()
    assert set(trace.ended) == {"a", "b", "b2", "c"}
    assert "d" not in trace.began
    trace.gates["e"].set()
    await run
    assert trace.ended[-2:] == ["e", "d"]


async def test_branch_that_ends_early_does_not_block_the_join() -> None:
    """A branch that ends quietly, before or after its sibling arrives, lets the join run."""
    for slow in ("b", "c"):
        a, b, b2, c, d = (Visit(name) for name in ("a", "b", "b2", "c", "d"))
        a >> [b, c]
        b - "on" >> b2 >> d
        c >> d
        trace = Trace(gates={slow: asyncio.Event()})
        run = asyncio.create_task(Graph(a).run_async(trace))
        await settle()
        assert "d" not in trace.began
        trace.gates[slow].set()
        await run
        assert "b2" not in trace.began
        assert trace.began[-1] == "d"
        assert trace.ended.count("d") == 1


async def test_all_branches_that_end_early_leave_the_join_out() -> None:
    """A join that no token arrives at does not run."""
    a, b, c, d = visits("abcd")
    a >> [b, c]
    b - "on" >> d
    c - "on" >> d
    assert sorted((await walk(a)).ended) == ["a", "b", "c"]


async def test_branch_that_loops_holds_the_join_until_it_leaves() -> None:
    """`c - "again" >> c` holds the join for as many rounds as it takes."""
    a, b, d = visits("abd")
    c = Visit("c", "again", "again", "again")
    a >> [b, c] >> d
    c - "again" >> c
    trace = await walk(a)
    assert trace.ended.count("c") == 4
    assert trace.ended[-1] == "d"
    assert trace.ended.count("d") == 1


async def test_branch_that_loops_over_several_nodes_holds_the_join() -> None:
    """A loop of two nodes within a branch holds the join on every node of it."""
    a, b, c, c2, d = (Visit(name) for name in ("a", "b", "c", "c2", "d"))
    c2 = Visit("c2", "again", "again")
    a >> [b, c]
    b >> d
    c >> c2 >> d
    c2 - "again" >> c
    trace = await walk(a)
    assert trace.ended == ["a", "b", "c", "c2", "c", "c2", "c", "c2", "d"]


async def test_branch_that_leaves_its_loop_where_it_began_holds_the_join() -> None:
    """An agent (`decide - "search" >> search >> decide`) holds the join while it searches."""
    a, other, search, d = Visit("a"), Visit("other"), Visit("search"), Visit("d")
    decide = Visit("decide", "search", "search", "done")
    a >> [decide, other]
    decide - "search" >> search >> decide
    [decide - "done" >> d, other >> d]
    trace = Trace(gates={"search": asyncio.Event()})
    run = asyncio.create_task(Graph(a).run_async(trace))
    await settle()
    assert trace.log[-1] == "-other"
    trace.gates["search"].set()
    await run
    assert trace.ended.count("search") == 2
    assert trace.ended.count("d") == 1


async def test_loop_around_a_fan_out_joins_once_a_round() -> None:
    """`d - "again" >> a` joins once a round."""
    a, b, c = visits("abc")
    d = Visit("d", "again", "again")
    a >> [b, c] >> d
    d - "again" >> a
    trace = await walk(a)
    assert trace.ended == ["a", "b", "c", "d"] * 3


async def test_branches_of_different_length_join_once() -> None:
    """Branches of one, two and three nodes join once, after the longest."""
    a, b, c, c2, e, e2, e3, d = (
        Visit(name) for name in ("a", "b", "c", "c2", "e", "e2", "e3", "d")
    )
    a >> [b, c >> c2, e >> e2 >> e3] >> d
    trace = await walk(a)
    assert trace.ended.count("d") == 1
    assert trace.began[-1] == "d"
    assert len(trace.ended) == 8


async def test_diamonds_nest() -> None:
    """A diamond in a branch of a diamond joins once, and so does the outer one."""
    a, b, c, d, e, f, g = visits("abcdefg")
    a >> [b >> [c, d] >> e, f] >> g
    for slow in "bcdef":
        trace = Trace(gates={slow: asyncio.Event()})
        run = asyncio.create_task(Graph(a).run_async(trace))
        await settle()
        assert "g" not in trace.began
        trace.gates[slow].set()
        await run
        assert sorted(trace.ended) == list("abcdefg")
        assert trace.began[-1] == "g"
        assert trace.began.index("e") > max(trace.began.index("c"), trace.began.index("d"))


async def test_diamonds_in_a_row_join_once_each() -> None:
    """`a >> [b, c] >> d >> [e, f] >> g` runs every node once, in that order."""
    a, b, c, d, e, f, g = visits("abcdefg")
    a >> [b, c] >> d >> [e, f] >> g
    assert (await walk(a)).ended == list("abcdefg")


async def test_joins_that_wait_for_each_other_run_in_topological_order() -> None:
    """Of two joins that wait, the one that can reach the other runs first: no deadlock."""
    a, b, c, x, y = visits("abcxy")
    a >> [b, c]
    b >> [x, y]
    c >> [x, y]
    x >> y
    assert (await walk(a)).ended == ["a", "b", "c", "x", "y"]


async def test_fan_out_of_joins_begins_them_at_once() -> None:
    """`[b, c] >> [d, e]` gives two joins that begin together, and then a third one."""
    a, b, c, d, e, f = visits("abcdef")
    a >> [b, c]
    b >> [d, e]
    c >> [d, e]
    [d, e] >> f
    trace = Trace(gates={"d": asyncio.Event(), "e": asyncio.Event()})
    run = asyncio.create_task(Graph(a).run_async(trace))
    await settle()
    assert trace.began == ["a", "b", "c", "d", "e"]
    trace.gates["d"].set()
    trace.gates["e"].set()
    await run
    assert trace.ended[-1] == "f"
    assert len(trace.ended) == 6


# --- rule 3: no levels ---------------------------------------------------------------------------


async def test_fast_branch_runs_ahead() -> None:
    """There are no levels: b's whole line ends while c has not even finished its first step."""
    a, b, b2, b3, c, d = (Visit(name) for name in ("a", "b", "b2", "b3", "c", "d"))
    a >> [b >> b2 >> b3, c] >> d
    trace = Trace(gates={"c": asyncio.Event()})
    run = asyncio.create_task(Graph(a).run_async(trace))
    await settle()
    assert trace.ended == ["a", "b", "b2", "b3"]
    trace.gates["c"].set()
    await run
    assert trace.ended == ["a", "b", "b2", "b3", "c", "d"]


async def test_branch_may_wait_for_what_its_sibling_does_later() -> None:
    """A node on level two sets what a node on level one waits for: a superstep would hang."""
    a, b, c, d = visits("abcd")
    gate = asyncio.Event()

    class Opens(Visit):
        def post(self, trace: Trace, asked: Any, action: str | None) -> str | None:
            gate.set()
            return super().post(trace, asked, action)

    a >> [b >> Opens("b2"), c] >> d
    trace = Trace(gates={"c": gate})
    async with asyncio.timeout(10):
        await Graph(a).run_async(trace)
    assert trace.ended == ["a", "b", "b2", "c", "d"]


async def test_node_with_one_predecessor_never_waits() -> None:
    """A node that only a join leads to follows it while other tokens are in flight."""
    a, b, c, d, e, slow = (Visit(name) for name in ("a", "b", "c", "d", "e", "slow"))
    a >> [b, c, slow]
    [b, c] >> d >> e
    trace = Trace(gates={"slow": asyncio.Event()})
    run = asyncio.create_task(Graph(a).run_async(trace))
    await settle()
    assert trace.ended == ["a", "b", "c", "d", "e"]
    trace.gates["slow"].set()
    await run


async def test_one_node_under_two_actions_of_another_is_not_a_join() -> None:
    """Two edges from the same node are one predecessor."""
    a, b, c = Visit("a", "x"), Visit("b"), Visit("c")
    a - "x" >> [b, c]
    a >> b
    assert Graph(a).plan.joins() == []
    assert (await walk(a)).ended == ["a", "b", "c"]


# --- the last action -----------------------------------------------------------------------------


async def test_last_action_is_returned() -> None:
    """A run returns the action of the path that ended last."""
    a = Visit("a")
    b, c = Visit("b", "first"), Visit("c", "second")
    a >> [b, c]
    trace = Trace(gates={"b": asyncio.Event()})
    run = asyncio.create_task(Graph(a).run_async(trace))
    await settle()
    assert trace.ended == ["a", "c"]
    trace.gates["b"].set()
    assert await run == "first"
    assert await Graph(Visit("d") >> Visit("e", "done")).run_async(Trace()) == "done"


async def test_node_may_run_several_times_at_once() -> None:
    """Two tokens that go back to the same node run it twice at once: a node keeps no state."""
    n = Visit("n", "both", "end", "end")
    b, c = Visit("b", "back"), Visit("c", "back")
    n - "both" >> [b, c]
    [b - "back" >> n, c - "back" >> n]
    n - "end" >> Visit("e")
    trace = Trace()
    trace.gates["b"] = trace.gates["c"] = asyncio.Event()
    run = asyncio.create_task(Graph(n).run_async(trace))
    await settle()
    again = trace.gates["n"] = asyncio.Event()
    trace.gates["b"].set()
    await settle()
    assert trace.log == ["+n", "-n", "+b", "+c", "-b", "+n", "-c", "+n"]
    again.set()
    await run
    assert trace.ended.count("n") == 3
    assert trace.ended.count("e") == 2
