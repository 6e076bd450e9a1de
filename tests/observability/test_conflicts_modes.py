"""What ``on_conflict`` says, for which part of a run, and what looking costs."""

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from kaygraph import (
    AsyncNode,
    BatchGraph,
    BatchNode,
    BranchGroup,
    Graph,
    Node,
    ParallelBatchNode,
    WriteConflictError,
    WriteConflictWarning,
    all_of,
)
from kaygraph.observability import conflicts as conflicts_module
from kaygraph.testing import cancel_everywhere, explore
from tests.observability.writing import Writer, conflicts, give_turns, read

A_B = ("a", "b", "k")


def beside(*branches: Any, **settings: Any) -> Graph:
    """Return a graph that begins all of them at once, and joins them."""
    return Graph(Writer("start") >> list(branches) >> Writer("join"), **settings)


def pair(**settings: Any) -> Graph:
    """Return a graph in which a and b write the same key."""
    return beside(Writer("a", "k"), Writer("b", "k", pauses=3), **settings)


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
    graph = beside(Writer("a", "k"), Writer("b", "k"), Writer("c"), on_conflict="raise")
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
    """A key that was written and taken away before the node ends was written all the same."""

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
        graph = beside(own, Writer("b", "k", pauses=pauses), on_conflict="raise")
        with pytest.raises(WriteConflictError) as caught:
            asyncio.run(graph.run_async({}))
        second = "own" if pauses == 0 else "b"
        assert f"in node {second!r}" in caught.value.__notes__


@pytest.mark.parametrize("hook", ["prep", "post"])
def test_conflict_of_a_hook_of_a_branch_that_is_a_graph_is_raised(hook: str) -> None:
    """A graph that is a branch of a group is no exception."""
    group = all_of(*(writing(Graph, hook)(Writer("x"), name=name) for name in ("one", "two")))
    with pytest.raises(WriteConflictError):
        asyncio.run(Graph(group, on_conflict="raise").run_async({}))


@pytest.mark.parametrize("pauses", [0, 3])
def test_error_of_a_node_in_conflict_is_not_lost(pauses: int) -> None:
    """A node that writes what another has, and then fails, tells both and where."""
    b = Writer("b", "k", pauses=pauses, fails=True)
    with pytest.raises(WriteConflictError) as caught:
        asyncio.run(beside(Writer("a", "k", pauses=0), b, on_conflict="raise").run_async({}))
    assert "in node 'b'" in caught.value.__notes__
    error = caught.value.__cause__ or caught.value.__context__
    assert isinstance(error, ValueError)


def test_conflict_is_ignored_where_that_is_asked_for() -> None:
    """Nothing is told, and nothing is looked at."""
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

    graph = beside(Cleans("a", "k"), Cleans("b", "l"), all_of(Cleans("c", "m"), Cleans("d", "n")))
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
    """In a line, in a branch beside others, and in a group; unless it says nothing."""
    expected = inner or outer or "warn"

    def within() -> Graph:
        return pair(on_conflict=inner, name="inner")

    for graph in (
        Graph(Writer("first") >> within() >> Writer("last"), on_conflict=outer),
        beside(within(), Writer("other"), on_conflict=outer),
        Graph(Writer("first") >> all_of(within(), Writer("other")), on_conflict=outer),
        beside(all_of(within(), Writer("c")), Writer("d") >> Writer("e"), on_conflict=outer),
    ):
        assert outcome(graph) == expected


@pytest.mark.parametrize("inner", ["warn", "raise", "ignore"])
@pytest.mark.parametrize("outer", ["warn", "raise", "ignore"])
def test_outer_graph_says_what_holds_between_its_branches(outer: Any, inner: Any) -> None:
    """A node in an inner graph and one beside that graph meet in the outer one."""
    for pauses in (0, 9):
        within = Graph(Writer("a") >> Writer("a2", "k"), on_conflict=inner, name="inner")
        assert outcome(beside(within, Writer("b", "k", pauses=pauses), on_conflict=outer)) == outer


@pytest.mark.parametrize("mode", ["warn", "raise", "ignore"])
@pytest.mark.parametrize("outer", ["warn", "raise", "ignore"])
def test_batch_graph_says_what_holds_between_its_rounds(outer: Any, mode: Any) -> None:
    """Of its own rounds a BatchGraph says it itself, and stands above the graph around."""

    def rounds() -> Rounds:
        return Rounds(Writer("a", "k"), max_workers=2, on_conflict=mode)

    assert outcome(rounds()) == mode
    assert outcome(Graph(Writer("first") >> rounds(), on_conflict=outer)) == mode
    assert outcome(beside(rounds(), Writer("b"), on_conflict=outer)) == mode


@pytest.mark.parametrize("inner", ["warn", "raise", "ignore"])
@pytest.mark.parametrize("mode", ["warn", "raise", "ignore"])
def test_batch_graph_has_the_say_of_graphs_in_its_rounds(mode: Any, inner: Any) -> None:
    """Two rounds part ways in the BatchGraph, though the node is in a graph within."""
    within = Graph(Writer("a", "k"), name="inner", on_conflict=inner)
    assert outcome(Rounds(within, max_workers=2, on_conflict=mode)) == mode


# --- at no cost where nothing runs beside ---------------------------------------------------------


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


def test_nobody_looks_where_nothing_runs_beside(made: list[Any]) -> None:
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


def test_one_look_is_kept_for_all_who_run_beside(made: list[Any]) -> None:
    """However many branches and forks within them: what is kept is kept once a fork."""
    inner = Graph([Writer("c", "c"), Writer("d", "d")], name="inner")
    asyncio.run(beside(Writer("a", "a"), Writer("b", "b"), inner, all_of(line(2))).run_async({}))
    assert len(made) == 1


def test_nobody_looks_any_more_after_the_join() -> None:
    """A line after a diamond costs what a line costs."""

    def looks(after: int) -> int:
        shared = Counting(k=1)
        start = Writer("start") >> [Writer("a", "a"), Writer("b", "b")] >> Writer("join")
        asyncio.run(Graph(start >> line(after)).run_async(shared))
        return shared.looks

    assert looks(1) == looks(20) > 0
