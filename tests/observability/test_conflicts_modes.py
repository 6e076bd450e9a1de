"""What ``on_conflict`` says, for which part of a run, and what looking costs."""

import asyncio
import sys
import warnings
from collections import UserDict
from collections.abc import Iterator
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    BatchGraph,
    BatchNode,
    Graph,
    Node,
    ParallelBatchNode,
    WriteConflictError,
    WriteConflictWarning,
    all_of,
)
from kaygraph.observability import conflicts as conflicts_module
from kaygraph.testing import cancel_everywhere, explore
from kaygraph.types import BranchGroup
from tests.observability.writing import Writer, conflicts, give_turns, read

A_B = ("a", "b", "k")


def parallel(*branches: Any, **settings: Any) -> Graph:
    """Return a graph that begins all of them at once, and joins them."""
    return Graph(Writer("start") >> list(branches) >> Writer("join"), **settings)


def pair(**settings: Any) -> Graph:
    """Return a graph in which a and b write the same key."""
    return parallel(Writer("a", "k"), Writer("b", "k", pauses=3), **settings)


class Rounds(BatchGraph):
    """Three rounds."""

    def prep(self, _: Any) -> Any:
        return [{}, {}, {}]


def writing(kind: type[Any], hook: str) -> type[Any]:
    """Return a kind of graph or group with a hook of its own that waits, writes k and waits."""

    async def write(shared: Any) -> None:
        await give_turns(3)
        shared["k"] = object()
        await give_turns(1)

    class WritesInPrep(kind):  # type: ignore[misc]
        async def prep(self, shared: Any) -> Any:
            await write(shared)
            return [{}]

    class WritesInPost(kind):  # type: ignore[misc]
        async def post(self, shared: Any, *_: Any) -> None:
            await write(shared)

    return WritesInPrep if hook == "prep" else WritesInPost


# --- raise and ignore ----------------------------------------------------------------------------


def test_conflict_is_raised_where_that_is_asked_for() -> None:
    """The run fails with the same text, and the note names the node that wrote second."""
    with pytest.raises(WriteConflictError) as caught:
        pair(on_conflict="raise").run({})
    assert read(caught.value) == A_B
    assert "in node 'b'" in caught.value.__notes__


def test_conflict_that_is_raised_leaves_nothing_behind() -> None:
    """In every order, the branches end together and the run fails with nothing else."""
    graph = parallel(Writer("a", "k"), Writer("b", "k"), Writer("c"), on_conflict="raise")
    for watched in (False, True):
        found = explore(graph, seeds=50, allowed=WriteConflictError, watched=watched)
        assert not found, str(found)


class Cleans(AsyncNode):
    """Writes, waits, and waits again while it ends; notes that it has."""

    def __init__(self, name: str, ended: list[str]) -> None:
        super().__init__(name=name)
        self.ended = ended

    async def post(self, shared: Any, *_: Any) -> None:
        shared["k"] = object()
        try:
            await give_turns(3)
        finally:
            await give_turns(1)
            self.ended.append(self.name)


def test_conflict_in_a_node_that_goes_on_ends_that_node_first() -> None:
    """A node comes to its end before the conflict is raised, whatever it does after writing."""
    ended: list[str] = []

    with pytest.raises(WriteConflictError):
        asyncio.run(
            Graph([Cleans("a", ended), Cleans("b", ended)], on_conflict="raise").run_async()
        )
    assert sorted(ended) == ["a", "b"]


def test_warnings_that_are_errors_end_the_node_first() -> None:
    """The same where the user has made errors of warnings."""
    ended: list[str] = []

    graph = Graph([Cleans("a", ended), Cleans("b", ended)])
    for watched in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = explore(graph, seeds=20, allowed=WriteConflictWarning, watched=watched)
            assert not found, str(found)
            with pytest.raises(WriteConflictWarning):
                asyncio.run(graph.run_async({}))
    assert len(ended) % 2 == 0


def test_conflict_of_a_value_that_is_gone_again_is_raised() -> None:
    """A key that was written and taken away before the node ends was written anyway."""

    class Passing(AsyncNode):
        async def post(self, shared: Any, *_: Any) -> None:
            shared["k"] = object()
            await give_turns(1)
            shared.pop("k", None)
            await give_turns(1)

    graph = Graph([Passing(name="a"), Passing(name="b")], on_conflict="raise")
    for shared in ({}, {"other": 1}):
        with pytest.raises(WriteConflictError):
            asyncio.run(graph.run_async(shared))


@pytest.mark.parametrize("hook", ["prep", "post"])
@pytest.mark.parametrize("kind", [Graph, BranchGroup, Rounds])
def test_conflict_of_a_hook_of_what_holds_nodes_is_raised(kind: type[Any], hook: str) -> None:
    """By a graph or a group as by a node: once, and in its own name."""
    for pauses in (0, 50):
        branches = [Writer("x", pauses=0), Writer("y")]
        own = (writing(kind, hook))(*(branches if kind is BranchGroup else [branches]), name="own")
        graph = parallel(own, Writer("b", "k", pauses=pauses), on_conflict="raise")
        with pytest.raises(WriteConflictError) as caught:
            asyncio.run(graph.run_async({}))
        second = "own" if pauses == 0 else "b"
        assert f"in node {second!r}" in caught.value.__notes__


@pytest.mark.parametrize("hook", ["prep", "post"])
def test_conflict_of_a_hook_of_a_branch_that_is_a_graph_is_raised(hook: str) -> None:
    """A graph that is a branch of a group is not an exception."""
    group = all_of(*(writing(Graph, hook)(Writer("x"), name=name) for name in ("one", "two")))
    with pytest.raises(WriteConflictError):
        asyncio.run(Graph(group, on_conflict="raise").run_async({}))


@pytest.mark.parametrize("pauses", [0, 3])
def test_error_of_a_node_in_conflict_is_not_lost(pauses: int) -> None:
    """A node that writes what another has, and then fails, tells both and where."""
    b = Writer("b", "k", pauses=pauses, fails=True)
    with pytest.raises(WriteConflictError) as caught:
        asyncio.run(parallel(Writer("a", "k", pauses=0), b, on_conflict="raise").run_async({}))
    assert "in node 'b'" in caught.value.__notes__
    error = caught.value.__cause__ or caught.value.__context__
    assert isinstance(error, ValueError)


def test_conflict_is_ignored_where_that_is_asked_for() -> None:
    """Nothing is reported, and nothing is checked."""
    assert conflicts(pair(on_conflict="ignore")) == set()


def test_unknown_mode_is_refused() -> None:
    """The nearest known one is suggested."""
    with pytest.raises(ValueError, match="Did you mean 'ignore'"):
        Graph(Writer("a"), on_conflict="ignored")  # type: ignore[arg-type]


def test_cancelled_run_leaves_nothing_behind() -> None:
    """Wherever a run is cancelled, what was begun by hand is ended as if it had been awaited."""

    class Cleans(Writer):
        async def post(self, shared: Any, *_: Any) -> str | None:
            try:
                return await super().post(shared)
            finally:
                await give_turns(1)

    graph = parallel(Cleans("a", "k"), Cleans("b", "l"), all_of(Cleans("c", "m"), Cleans("d", "n")))
    cancel_everywhere(graph, dict)


# --- an inner graph's word ------------------------------------------------------------------------


def outcome(graph: Graph) -> str:
    """Return what a run of a graph with one conflict does: raise, warn, or ignore it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            asyncio.run(graph.run_async({}))
        except WriteConflictError:
            return "raise"
    return "warn" if caught else "ignore"


@pytest.mark.parametrize("inner", ["warn", "raise", "ignore", None])
@pytest.mark.parametrize("outer", ["warn", "raise", "ignore", None])
def test_inner_graph_says_what_holds_within_it(outer: Any, inner: Any) -> None:
    """In a line, in a branch parallel to others, and in a group; unless it says nothing."""
    expected = inner or outer or "warn"

    def within() -> Graph:
        return pair(on_conflict=inner, name="inner")

    for graph in (
        Graph(Writer("first") >> within() >> Writer("last"), on_conflict=outer),
        parallel(within(), Writer("other"), on_conflict=outer),
        Graph(Writer("first") >> all_of(within(), Writer("other")), on_conflict=outer),
        parallel(all_of(within(), Writer("c")), Writer("d") >> Writer("e"), on_conflict=outer),
    ):
        assert outcome(graph) == expected


@pytest.mark.parametrize("inner", ["warn", "raise", "ignore"])
@pytest.mark.parametrize("outer", ["warn", "raise", "ignore"])
def test_outer_graph_says_what_holds_between_its_branches(outer: Any, inner: Any) -> None:
    """A node in an inner graph and one parallel to that graph meet in the outer one."""
    for pauses in (0, 9):
        within = Graph(Writer("a") >> Writer("a2", "k"), on_conflict=inner, name="inner")
        assert (
            outcome(parallel(within, Writer("b", "k", pauses=pauses), on_conflict=outer)) == outer
        )


@pytest.mark.parametrize("mode", ["warn", "raise", "ignore"])
@pytest.mark.parametrize("outer", ["warn", "raise", "ignore"])
def test_batch_graph_says_what_holds_between_its_rounds(outer: Any, mode: Any) -> None:
    """Of its own rounds a BatchGraph says it itself, and stands above the graph around."""

    def rounds() -> Rounds:
        return Rounds(Writer("a", "k"), max_workers=2, on_conflict=mode)

    assert outcome(rounds()) == mode
    assert outcome(Graph(Writer("first") >> rounds(), on_conflict=outer)) == mode
    assert outcome(parallel(rounds(), Writer("b"), on_conflict=outer)) == mode


@pytest.mark.parametrize("inner", ["warn", "raise", "ignore"])
@pytest.mark.parametrize("mode", ["warn", "raise", "ignore"])
def test_batch_graph_has_the_say_of_graphs_in_its_rounds(mode: Any, inner: Any) -> None:
    """Two rounds part ways in the BatchGraph, though the node is in a graph within."""
    within = Graph(Writer("a", "k"), name="inner", on_conflict=inner)
    assert outcome(Rounds(within, max_workers=2, on_conflict=mode)) == mode


# --- when nobody has asked ------------------------------------------------------------------------


def warned(graph: Graph, shared: Any) -> list[str]:
    """Run a graph on a loop of its own; return what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(graph.run_async(shared))
    return [str(one.message) for one in caught]


@pytest.mark.parametrize(("mode", "runs"), [(None, [1, 0, 0]), ("warn", [1, 1, 1])])
def test_a_graph_is_checked_by_default_the_first_time_it_is_walked(mode: Any, runs: Any) -> None:
    """A race comes from the wiring and shows at once; with on_conflict every walk is checked."""
    graph = pair(on_conflict=mode)
    assert [len(warned(graph, {})) for _ in runs] == runs


def test_a_graph_that_is_wired_anew_is_checked_again() -> None:
    """A new edge may bring a new race."""
    start, a, b = Writer("start"), Writer("a", "k"), Writer("b")
    graph = Graph(start >> [a, b])
    assert warned(graph, {}) == []
    start >> Writer("c", "k", pauses=3)
    assert [read(text) for text in warned(graph, {})] == [("a", "c", "k")]


@pytest.mark.parametrize("group", [True, False])
def test_groups_and_rounds_are_checked_by_default_the_first_time(group: bool) -> None:
    """As graphs are."""
    inner: Any = all_of(Writer("a", "k"), Writer("b", "k", pauses=3))
    if not group:
        inner = Rounds(Writer("a", "k", at="post_late", pauses=3), max_workers=3)
    graph = Graph(Writer("start") >> inner)
    assert [bool(warned(graph, {})) for _ in range(3)] == [True, False, False]


def test_a_fork_is_checked_the_first_time_although_the_graph_has_been_walked() -> None:
    """An earlier run took another way, and began nothing at once."""
    start = Writer("start", action=lambda shared: shared.get("way"))
    start - "fork" >> [Writer("a", "k"), Writer("b", "k", pauses=3)]
    start >> Writer("plain")
    graph = Graph(start)
    assert [len(warned(graph, dict(shared))) for shared in ({}, {"way": "fork"})] == [0, 1]
    assert warned(graph, {"way": "fork"}) == []


@pytest.mark.parametrize("group", [True, False])
def test_groups_and_rounds_are_checked_although_a_part_has_run_by_itself(group: bool) -> None:
    """Then nothing ran in parallel with it."""
    part = Graph(Writer("a", "k", at="post_late", pauses=3))
    warned(part, {})
    inner: Any = all_of(part, Writer("b", "k", at="post_late", pauses=4))
    if not group:
        inner = Rounds(Writer("a", "k", at="post_late", pauses=3))
        warned(inner, {})
        inner.max_workers = 3
    assert [bool(warned(Graph(inner), {})) for _ in range(2)] == [True, False]


def test_a_walk_that_failed_is_not_a_first_walk() -> None:
    """Its race may not have come yet."""
    fails = Writer("fails", action="nowhere", pauses=0)
    fails - "somewhere" >> Writer("after")
    graph = Graph([fails, Writer("a", "k", pauses=9), Writer("b", "k", pauses=9)])
    with pytest.raises(LookupError):
        warned(graph, {})
    fails.action = "somewhere"
    assert len(warned(graph, {})) == 1


@pytest.mark.parametrize(("mode", "found"), [(None, 0), ("warn", 1)])
@pytest.mark.parametrize("grows", [True, False])
def test_a_large_store_is_checked_only_when_asked_for(mode: Any, found: int, grows: bool) -> None:
    """Every look goes through all of its keys; it may have grown since the branches began."""

    class Grows(AsyncNode):
        def post(self, shared: Any, *_: Any) -> None:
            if grows:
                shared.update(dict.fromkeys(range(1001)))

    shared: dict[Any, Any] = {} if grows else dict.fromkeys(range(1001))
    graph = parallel(Grows(), Writer("a", "k", pauses=3), Writer("b", "k"), on_conflict=mode)
    assert len(warned(graph, shared)) == found


def test_a_large_store_is_not_even_copied(made: list[Any]) -> None:
    """Nothing of it is kept for a check that will not take place."""
    asyncio.run(pair().run_async(dict.fromkeys(range(1001))))
    assert made == []


def test_a_fork_within_a_fork_that_is_checked_is_checked() -> None:
    """What an inner graph writes meets what is parallel to it, although it was walked before."""
    inner = Graph(Writer("i") >> [Writer("a", "k"), Writer("c")], name="inner")
    assert warned(inner, {}) == []
    graph = parallel(inner, Writer("b", "k", pauses=9))
    assert [read(text) for text in warned(graph, {})] == [("b", "inner/a", "k")]


def test_a_model_that_replaces_its_dict_is_seen() -> None:
    """As pydantic does where it validates assignments."""

    class Model:
        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, "__dict__", {**self.__dict__, name: value})

    assert [read(text) for text in warned(pair(), Model())] == [A_B]


def test_a_mapping_that_is_not_a_dict_is_seen() -> None:
    """By its keys, not by its attributes."""

    class Storing(AsyncNode):
        def post(self, shared: Any, *_: Any) -> None:
            shared["k"] = object()

    graph = Graph([Storing(name="a"), Storing(name="b")])
    assert [read(text) for text in warned(graph, UserDict[str, Any]())] == [A_B]


@pytest.mark.parametrize(("mode", "found"), [(None, 0), ("warn", 1)])
def test_a_store_that_cannot_be_seen_is_said_so_once(mode: Any, found: int) -> None:
    """Where checks were asked for, and with what to do."""

    graph = parallel(Writer("a"), all_of(Writer("b"), Writer("c")), on_conflict=mode)
    messages = warned(graph, [])
    assert len(messages) == found
    assert all("use a dict or a dataclass" in text for text in messages)


@pytest.mark.parametrize("width", [10, 1000])
def test_checking_takes_time_in_proportion_to_what_is_written(width: int) -> None:
    """A branch that writes often costs no more a write than one that writes once."""

    class Often(AsyncNode):
        def post(self, shared: Any, *_: Any) -> str | None:
            shared["n"] = shared.get("n", 0) + 1
            return "again" if shared["n"] < width else None

    often = Often(name="often")
    often - "again" >> often
    made: list[int] = []
    original = conflicts_module.Writes.new_segment

    def counted(self: Any) -> int:
        made.append(1)
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conflicts_module.Writes, "new_segment", counted)
        asyncio.run(Graph([often, Writer("b", "k")], on_conflict="raise").run_async({}))
    assert len(made) == 2  # a segment for each branch, however often it writes


def test_a_run_that_nobody_watches_enters_no_line_of_observability() -> None:
    """No observers, no slow_hook_s, and forks that have been walked before."""
    graph = parallel(Writer("a", "k"), Writer("b", "k"), all_of(Writer("c"), Writer("d")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(graph.run_async({}))
    entered: list[str] = []

    def profile(frame: Any, event: str, _: Any) -> None:
        if event == "call" and "/kaygraph/observability/" in frame.f_code.co_filename:
            entered.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        asyncio.run(graph.run_async({}))
    finally:
        sys.setprofile(None)
    assert entered == []


# --- at no cost without parallel branches ---------------------------------------------------------


class Counting(dict[str, Any]):
    """A store that counts how often somebody looks through all of it."""

    looks = 0

    def values(self) -> Any:
        self.looks += 1
        return super().values()

    def keys(self) -> Any:
        self.looks += 1
        return super().keys()

    def __iter__(self) -> Iterator[str]:
        self.looks += 1
        return super().__iter__()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The views of a store that were made."""
    views: list[Any] = []

    class Counted(conflicts_module.Writes):
        __slots__ = ()

        def __init__(self, *args: Any) -> None:
            views.append(self)
            super().__init__(*args)

    monkeypatch.setattr(conflicts_module, "Writes", Counted)
    return views


def line(length: int) -> Any:
    chain: Any = Writer("l0", "k")
    for number in range(1, length):
        chain = chain >> Writer(f"l{number}", "k")
    return chain


def test_nothing_is_checked_where_nothing_runs_in_parallel(made: list[Any]) -> None:
    """A line, a loop, batches, inner graphs, rounds one by one, and forks that are ignored."""

    class Items(BatchNode[int, int]):
        def prep(self, _: Any) -> range:
            return range(3)

        async def exec(self, item: int) -> int:
            return item

    class ManyItems(Items, ParallelBatchNode[int, int]):
        pass

    class InThread(Node):
        def exec(self, _: Any) -> None:
            pass

    loop, end = Writer("loop", "k"), Writer("end", action=lambda s: None if s["k"] else "x")
    loop >> end
    end - "x" >> loop
    chain = line(3) >> Graph(line(3), name="inner") >> Items() >> ManyItems() >> InThread()
    for graph in (
        Graph(chain >> Rounds(line(2)) >> Graph(loop)),
        pair(on_conflict="ignore"),
        Graph(all_of(Writer("only", "k"))),
        Rounds(Writer("a", "k"), max_workers=2, on_conflict="ignore"),
    ):
        for run in (graph.run, lambda shared, g=graph: asyncio.run(g.run_async(shared))):
            shared = Counting(k=1)
            run(shared)
            assert shared.looks == 0
    assert made == []


def test_the_state_of_a_fork_is_kept_once(made: list[Any]) -> None:
    """However many branches and forks within them: what is kept is kept once a fork."""
    inner = Graph([Writer("c", "c"), Writer("d", "d")], name="inner")
    asyncio.run(parallel(Writer("a", "a"), Writer("b", "b"), inner, all_of(line(2))).run_async({}))
    assert len(made) == 1


def test_nobody_looks_any_more_after_the_join() -> None:
    """A line after a diamond costs what a line costs."""

    def looks(after: int) -> int:
        shared = Counting(k=1)
        start = Writer("start") >> [Writer("a", "a"), Writer("b", "b")] >> Writer("join")
        asyncio.run(Graph(start >> line(after)).run_async(shared))
        return shared.looks

    assert looks(1) == looks(20) > 0
