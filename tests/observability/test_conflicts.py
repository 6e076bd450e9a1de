"""Branches that run at once and write the same key: in one graph, without others in it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from kaygraph import AsyncNode, Graph, Node, ParallelBatchNode, WriteConflictWarning
from tests.observability.writing import Writer, conflicts, give_turns, once, reports_of

A_B = {("a", "b", "k")}
MOMENTS = ["prep", "prep_late", "post", "post_late"]


def parallel(*branches: Any, **settings: Any) -> Graph:
    """Return a graph that begins all of them at once, and joins them."""
    return Graph(Writer("start") >> list(branches) >> Writer("join"), **settings)


# --- what is reported ----------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [(0, 5), (5, 0), (1, 1), (0, 0)])
@pytest.mark.parametrize("at", MOMENTS)
def test_two_branches_that_write_the_same_key_are_reported(
    first: int, second: int, at: str
) -> None:
    """In either order, and wherever in its life a node writes."""
    a, b = Writer("a", "k", at=at, pauses=first), Writer("b", "k", pauses=second)
    assert conflicts(parallel(a, b)) == A_B


def test_warning_names_both_nodes_the_key_and_what_to_do() -> None:
    """The message is one that a user can act on."""
    graph = Graph(parallel(Writer("a", "k"), Writer("b", "k"), name="inner"))
    with pytest.warns(WriteConflictWarning) as caught:
        graph.run({})
    assert [str(one.message) for one in caught] == [
        "nodes 'inner/a' and 'inner/b' run in parallel branches and both write "
        "shared['k']: which value stays depends on their order. Write different keys and join "
        "them afterwards, wire one after the other, or allow it with Graph(on_conflict='ignore')"
    ]


@pytest.mark.parametrize("hook", ["prep", "post"])
def test_hooks_that_never_wait_are_seen(hook: str) -> None:
    """Nodes whose hooks are plain functions are distinguished as well."""

    class Plain(Node):
        def prep(self, shared: Any) -> None:
            if hook == "prep":
                shared["k"] = object()

        def post(self, shared: Any, *_: Any) -> None:
            if hook == "post":
                shared["k"] = object()

    class WithExec(Plain):
        def exec(self, _: Any) -> None:
            pass

    assert conflicts(parallel(Plain(name="a"), Plain(name="b"))) == A_B
    assert conflicts(parallel(WithExec(name="a"), Writer("b", "k"))) == A_B


def test_only_those_who_write_are_named_however_others_wait() -> None:
    """A parallel node that only waits is never taken for one that has written."""
    for at in MOMENTS:
        others = [Writer(f"w{turns}", pauses=turns) for turns in (0, 2, 3)]
        chain = Writer("o1", pauses=2) >> Writer("o2") >> Writer("o3", pauses=0)
        branches = (Writer("a", "k", at=at, pauses=2), Writer("b", "k", pauses=3))
        assert conflicts(parallel(chain, *branches, *others)) == A_B


def test_every_key_is_reported_by_itself() -> None:
    """Two keys are two reports."""
    found = conflicts(parallel(Writer("a", "k", "l", "m"), Writer("b", "l", "k")))
    assert found == {("a", "b", "k"), ("a", "b", "l")}


def test_three_branches_are_all_named() -> None:
    """Each is reported with the one that wrote before it."""
    graph = parallel(*(Writer(name, "k") for name in "abc"))
    for seed in range(20):
        found = reports_of(graph, seed=seed)
        assert len(found) == 2
        assert {name for report in found for name in report} == {*"abc", "k"}


def test_branches_of_uneven_length_are_reported() -> None:
    """The last of a long branch runs in parallel with the only one of a short branch."""
    for early, late in ((0, 9), (9, 0)):
        long = Writer("a1", pauses=early) >> Writer("a2") >> Writer("a", "k")
        assert conflicts(parallel(long, Writer("b", "k", pauses=late))) == A_B
        long = Writer("a1", "k", pauses=early) >> Writer("a2") >> Writer("a3")
        assert conflicts(parallel(Writer("b", "k", pauses=late), long)) == {("a1", "b", "k")}


@pytest.mark.parametrize(("one", "other"), [("c", "f"), ("e", "f"), ("b", "f"), ("c", "d")])
def test_nested_diamonds_are_reported(one: str, other: str) -> None:
    """Everything on the other side of a fork, inner or outer, runs in parallel."""
    a, b, c, d, e, f, g = (
        Writer(name, *("k" if name in (one, other) else "")) for name in "abcdefg"
    )
    a >> [b >> [c, d] >> e, f] >> g
    assert conflicts(Graph(a)) == {(one, other, "k")}


@pytest.mark.parametrize("slow", ["away", "branch"])
def test_what_left_runs_in_parallel_with_the_join(slow: str) -> None:
    """A branch that has taken another way is not waited for, whether it has ended or not."""
    for writer in ("join", "after"):
        left = Writer("left", action="away")
        away = Writer("a", "k", pauses=9 if slow == "away" else 0)
        left - "away" >> away
        branch = Writer("c", pauses=9 if slow == "branch" else 0)
        join, after = (Writer(name, *("k" if name == writer else "")) for name in ("join", "after"))
        graph = Graph(Writer("start") >> [left, branch, Writer("d")] >> join >> after)
        assert conflicts(graph) == {(*sorted(("a", writer)), "k")}


def test_join_is_after_what_a_branch_wrote_before_it_left() -> None:
    """It has waited until that branch could not come any more: there is an order between them."""
    left, join = Writer("left", "k", action="away"), Writer("join", "k")
    left - "away" >> Writer("away", pauses=9)
    graph = Graph(Writer("start") >> [left, Writer("b", pauses=5), Writer("c")] >> join)
    assert conflicts(graph) == set()


def test_join_in_a_branch_is_parallel_to_those_that_have_ended() -> None:
    """What joins the forks of one branch has not waited for the other."""
    branch = Writer("a1", pauses=5) >> [Writer("c"), Writer("d")] >> Writer("a", "k")
    assert conflicts(Graph(Writer("start") >> [branch, Writer("b", "k", pauses=0)])) == A_B


def test_node_that_runs_in_parallel_with_itself_is_named_once() -> None:
    """Two branches may lead back to the same node."""

    def ways(shared: Any) -> str:
        shared["rounds"].append("n")
        return "both" if len(shared["rounds"]) == 1 else "end"

    n, b, c = Writer("n", "k", action=ways), Writer("b", action="back"), Writer("c", action="back")
    n - "both" >> [b, c]
    [b - "back" >> n, c - "back" >> n]
    n - "end" >> Writer("end")
    assert conflicts(Graph(n)) == {("n", "k")}


def test_several_starts_run_in_parallel() -> None:
    """A graph may begin with several nodes at once."""
    assert conflicts(Graph([Writer("a", "k"), Writer("b", "k")])) == A_B


@pytest.mark.parametrize("start", [lambda fork: fork, lambda fork: Writer("start") >> fork])
def test_branch_that_is_left_alone_is_parallel_to_those_that_have_ended(start: Any) -> None:
    """Where nothing joins them, the last of the branches comes after none of the others."""
    left = Writer("a1", pauses=5) >> Writer("a2") >> Writer("a", "k")
    graph = Graph(start([left, Writer("b", "k")]))
    assert conflicts(graph) == A_B
    assert conflicts(Graph(Writer("before") >> graph)) == {("Graph/a", "Graph/b", "k")}


def test_join_in_a_loop_is_after_its_last_round() -> None:
    """A join that stands in a loop, and is gone back to, has seen what it wrote itself."""
    join, end = Writer("j", "k"), Writer("end", "l", action=once("again"))
    branch = Writer("a") >> [Writer("b", "k"), Writer("c")] >> join >> end
    end - "again" >> join
    assert conflicts(Graph(Writer("start") >> [branch, Writer("other", pauses=20)])) == set()


@pytest.mark.parametrize("several_starts", [False, True])
def test_later_fork_is_looked_at_as_closely_as_the_first(several_starts: bool) -> None:
    """What was written in an earlier fork does not hide what is written in a later one."""
    first, d = [Writer("b", "k"), Writer("c")], Writer("d")
    e, f, h = Writer("e"), Writer("f", "k"), Writer("h", "k")
    first >> d >> [e >> [Writer("x"), Writer("y", pauses=9)] >> h, f] >> Writer("g")
    graph = Graph(first if several_starts else Writer("start") >> first)
    assert conflicts(graph) == {("f", "h", "k")}


def test_conflict_that_comes_again_is_reported_once() -> None:
    """A loop around a fan-out does not repeat itself."""
    start, join = Writer("start"), Writer("join", action=once("again"))
    start >> [Writer("a", "k"), Writer("b", "k")] >> join
    join - "again" >> start
    assert conflicts(Graph(start)) == A_B


def test_deletion_is_a_write() -> None:
    """A key that one takes away is not there for the other."""

    class Deletes(AsyncNode):
        async def post(self, shared: Any, *_: Any) -> None:
            await give_turns(2)
            shared.pop("k", None)

    for pauses in (0, 5):
        graph = parallel(Deletes(name="a"), Writer("b", "k", pauses=pauses))
        assert conflicts(graph, {"k": 1, "other": 2}) == A_B


def test_key_that_takes_the_place_of_another_is_a_write() -> None:
    """A value that moves from one key to another has changed both."""

    class Renames(AsyncNode):
        def post(self, shared: Any, *_: Any) -> None:
            shared["k"] = shared.pop("old")

    def store() -> dict[str, Any]:
        return {"first": 1, "old": object()}

    for pauses in (0, 5):
        assert conflicts(parallel(Renames(name="a"), Writer("b", "k", pauses=pauses)), store) == A_B
    chain = Writer("b1", "new", pauses=5) >> Writer("b", "k")
    assert conflicts(parallel(Renames(name="a"), chain), store) == A_B


def test_object_with_attributes_is_a_store_as_well() -> None:
    """The attributes of an object are its top level."""

    @dataclass
    class Store:
        k: Any = None

    assert conflicts(parallel(Writer("a", "k"), Writer("b", "k")), Store) == A_B
    assert conflicts(parallel(Writer("a", "k"), Writer("b", "k")), SimpleNamespace) == A_B
    assert conflicts(parallel(Writer("a", "k"), Writer("b", "l")), Store) == set()


class Sets(AsyncNode):
    """Writes an attribute."""

    def post(self, shared: Any, *_: Any) -> None:
        shared.k = self.name


def test_a_store_with_slots_is_seen_by_its_slots() -> None:
    """As a msgspec Struct has them, also those of a base class."""

    class Base:
        __slots__ = ("k",)

    class Slots(Base):
        __slots__ = ("l",)

    class Other(Slots):
        """It has a __dict__ as well."""

    for store in (Base, Slots, Other):
        assert conflicts(parallel(Sets(name="a"), Sets(name="b")), store) == A_B


def test_a_store_without_attributes_is_left_alone() -> None:
    """Nobody can look into what has neither keys nor attributes; it runs as ever."""

    class Appends(AsyncNode):
        def post(self, shared: Any, *_: Any) -> None:
            shared.append(self.name)

    assert conflicts(parallel(Appends(name="a"), Appends(name="b")), list) == set()


# --- what is not ---------------------------------------------------------------------------------


def test_node_after_another_may_write_the_same_key() -> None:
    """In a line, before the fork, in the join, after it, and one after the other in a branch."""
    a, b, c, d, e, f, g = (Writer(name, "k") for name in "abcdefg")
    assert conflicts(Graph(a >> b >> [c >> d >> e, Writer("other", pauses=5)] >> f >> g)) == set()


def test_joins_that_begin_at_once_are_in_parallel_and_after_all_before() -> None:
    """A fan-out may lead into several joins, which are the branches of the next one."""

    def graph(keys: str) -> Graph:
        a, b, c, d, e, f = (Writer(name, *("k" if name in keys else "")) for name in "abcdef")
        a >> [b, c] >> [d, e] >> f
        return Graph(a)

    assert conflicts(graph("abdf")) == set()
    assert conflicts(graph("bd")) == conflicts(graph("ce")) == set()
    assert conflicts(graph("bde")) == {("d", "e", "k")}


@pytest.mark.parametrize("names", ["bcdeg", "bceg", "abdeg"])
def test_nested_diamonds_that_join_are_in_order(names: str) -> None:
    """The inner join comes after the inner branches, and the outer one after all."""
    a, b, c, d, e, f, g = (Writer(name, *("k" if name in names else "")) for name in "abcdefg")
    a >> [b >> [c, d] >> e, f] >> g
    expected = {("c", "d", "k")} if "cd" in names else set()
    assert conflicts(Graph(a)) == expected


def test_next_round_of_a_loop_is_after_this_one() -> None:
    """A node that writes in each round, in one branch, has nothing parallel to it."""
    start, join = Writer("start", "k"), Writer("join", "k", action=once("again"))
    start >> [Writer("a", "k") >> Writer("a2", "k"), Writer("b", pauses=5)] >> join
    join - "again" >> start
    assert conflicts(Graph(start)) == set()


def test_branch_that_loops_is_in_order_with_itself() -> None:
    """A loop within a branch comes back to what it has written."""
    a, a2 = Writer("a", "k"), Writer("a2", "k", action=once("again"))
    a >> a2
    a2 - "again" >> a
    assert conflicts(Graph(Writer("start") >> [a, Writer("b", pauses=9)])) == set()


def test_different_keys_are_no_conflict() -> None:
    """Branches that share nothing are left in peace."""
    assert conflicts(parallel(Writer("a", "k", "l"), Writer("b", "m"), Writer("c", "n"))) == set()


def test_value_that_is_changed_in_place_is_not_a_write() -> None:
    """Only the top level is looked at: appending to a list both know is not."""

    class Appends(AsyncNode):
        async def post(self, shared: Any, *_: Any) -> None:
            shared["k"].append(self.name)
            await give_turns(1)
            shared["k"] = shared["k"]  # the same object written back

    def store() -> dict[str, Any]:
        return {"k": []}

    assert conflicts(parallel(Appends(name="a"), Appends(name="b")), store) == set()


def test_values_are_not_compared() -> None:
    """A value whose comparison fails, or is no bool, is nothing special."""

    class Odd:
        def __eq__(self, _: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]

    graph = parallel(Writer("a", "k"), Writer("b", "k"))
    assert conflicts(graph, lambda: {"odd": Odd(), "k": Odd()}) == A_B


def test_error_route_is_after_the_node_that_failed() -> None:
    """What handles an error may write what the failed node has written."""
    for at, pauses in (("prep", 0), ("post", 0), ("prep", 2), ("post_late", 2)):
        a, handler = Writer("a", "k", at=at, pauses=pauses, fails=True), Writer("handler", "k")
        a - "error" >> handler
        assert conflicts(parallel(a, Writer("b", pauses=5))) == set()


def test_error_route_runs_in_parallel_with_the_other_branches() -> None:
    """What handles an error is in its branch, and a join of errors is after all of them."""
    a, b, handler = Writer("a", fails=True), Writer("b", "k", pauses=5), Writer("handler", "k")
    a - "error" >> handler
    assert conflicts(Graph(Writer("start") >> [a, b])) == {("b", "handler", "k")}
    a, b, handler = Writer("a", "k", fails=True), Writer("b", fails=True), Writer("handler", "k")
    Writer("start") >> [a, b]
    [a - "error" >> handler, b - "error" >> handler]
    assert conflicts(Graph([a, b])) == set()


def test_tasks_of_a_hook_do_not_put_the_blame_on_others() -> None:
    """What a hook writes in tasks of its own is not taken for a write of parallel nodes."""

    class Spreads(AsyncNode):
        async def post(self, shared: Any, *_: Any) -> None:
            async def write() -> None:
                for _ in range(6):
                    await give_turns(1)
                    shared["k"] = object()

            await asyncio.gather(write(), write())
            shared["k"] = object()

    chain = Writer("b1") >> [Writer("c1"), Writer("c2")] >> Writer("b2", pauses=2)
    graph = parallel(Spreads(name="a"), chain, Writer("d", pauses=2) >> Writer("e", pauses=2))
    assert conflicts(graph, seeds=30) == set()


def test_source_of_a_batch_does_not_put_the_blame_on_others() -> None:
    """What a generator in prep writes while it is pulled is not taken for a write of others."""

    class Pulls(ParallelBatchNode[int, None]):
        def prep(self, shared: Any) -> Iterator[int]:
            for item in range(4):
                shared["k"] = object()
                yield item

        async def exec(self, item: int) -> None:
            await give_turns(item)

        def post(self, shared: Any, *_: Any) -> None:
            shared["k"] = object()

    for workers in (1, 2):
        waiting = Writer("b1", pauses=2) >> Writer("b2", pauses=2)
        assert conflicts(parallel(Pulls(name="a", max_workers=workers), waiting)) == set()
