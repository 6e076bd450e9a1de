"""What a failure does to everything around it, and what its error says."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import AttemptTimeoutError, BatchGraph, Graph, Journal, Node, ParallelBatchNode
from tests.clock import VIRTUAL, run_virtually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Fails(Node[Any, Any]):
    """Fails after so many seconds."""

    def __init__(self, seconds: float, error: BaseException, **settings: Any) -> None:
        super().__init__(**settings)
        self.seconds, self.failure = seconds, error

    async def exec(self, _: Any) -> None:
        await asyncio.sleep(self.seconds)
        raise self.failure


class Sibling(Node[Any, Any]):
    """Runs for a long time and keeps when it ended."""

    def __init__(self, ended: list[float], **settings: Any) -> None:
        super().__init__(**settings)
        self.ended = ended

    async def exec(self, _: Any) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(5)
            self.ended.append(asyncio.get_running_loop().time())


class Batch(ParallelBatchNode[Any, Any]):
    def prep(self, shared: Any) -> Any:
        return shared["items"]

    async def exec(self, item: int) -> int:
        await asyncio.sleep(1)
        if item < 0:
            raise ValueError(item)
        return item


async def test_one_failure_cancels_its_siblings_and_waits_for_them() -> None:
    """When the error is raised, every sibling has been cancelled and has cleaned up."""
    ended: list[float] = []
    error = ValueError("first")
    inner = Graph([Sibling(ended, name="b"), Sibling(ended, name="c")])
    with pytest.raises(ValueError, match="first") as caught:
        await Graph([Fails(2, error), Sibling(ended, name="a"), inner]).run_async({})
    assert caught.value is error
    assert ended == pytest.approx([7, 7, 7])


async def test_one_failing_item_cancels_the_others_and_waits_for_them() -> None:
    """In a batch as between branches."""

    class Cleans(Batch):
        async def exec(self, item: int) -> int:
            try:
                await asyncio.sleep(abs(item))
            finally:
                await asyncio.sleep(5)
                ended.append(item)
            raise ValueError(item)

    ended: list[int] = []
    with pytest.raises(ValueError, match="1"):
        await Cleans(max_workers=3).run_async({"items": [100, 1, 200, 300]})
    assert sorted(ended) == [1, 100, 200]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=1, max_size=8), st.booleans())
def test_every_error_of_the_same_moment_is_kept(moments: list[int], batch: bool) -> None:
    """One error is raised as itself, several at once are a group that keeps all of them."""

    class Many(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> Any:
            return range(len(moments))

        async def exec(self, item: int) -> None:
            await asyncio.sleep(moments[item])
            raise ValueError(item)

    async def raised() -> BaseException:
        if batch:
            node: Any = Many()
        else:
            node = Graph([Fails(at, ValueError(i)) for i, at in enumerate(moments)])
        try:
            await node.run_async({})
        except Exception as error:
            return error
        raise AssertionError("nothing was raised")

    error = run_virtually(raised())
    first = [item for item, at in enumerate(moments) if at == min(moments)]
    errors = error.exceptions if isinstance(error, ExceptionGroup) else [error]
    assert [inner.args[0] for inner in errors] == first
    assert isinstance(error, ExceptionGroup) == (len(first) > 1)
    for inner in errors:
        assert len(inner.__notes__) == 1


async def test_a_note_names_the_node_the_item_and_the_attempt() -> None:
    """Read from the error itself, wherever it is caught."""
    with pytest.raises(ValueError, match="-7") as caught:
        await Graph(Batch(name="Fetch", max_retries=3)).run_async({"items": [1, 2, -7]})
    assert caught.value.__notes__ == ["in node 'Fetch', item 2 (-7), attempt 3 of 3"]


async def test_a_note_of_a_single_node_names_no_item() -> None:
    """A node that runs once has no items to tell apart."""
    with pytest.raises(ValueError, match="x") as caught:
        await Graph(Fails(0, ValueError("x"), name="Load")).run_async({})
    assert caught.value.__notes__ == ["in node 'Load'"]


async def test_a_note_names_the_graphs_around_the_node() -> None:
    """The innermost place knows most, and it is said once."""
    deep = Graph(Graph(Batch(), name="Inner"), name="Middle")
    with pytest.raises(ValueError, match="-1") as caught:
        await Graph(deep, name="Outer").run_async({"items": [-1]})
    (note,) = caught.value.__notes__
    assert note == "in node 'Middle/Inner/Batch', item 0 (-1)"


async def test_a_long_item_is_shortened_in_the_note() -> None:
    """A note stays a line, whatever the item is."""

    class Texts(Batch):
        async def exec(self, item: Any) -> Any:
            raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its note is what counts
        await Texts().run_async({"items": ["x" * 10_000]})
    (note,) = caught.value.__notes__
    assert len(note) < 200
    assert "item 0 ('xxx" in note


@pytest.mark.parametrize("hook", ["prep", "post"])
async def test_a_note_names_the_node_whose_prep_or_post_failed(hook: str) -> None:
    """Not only exec can fail."""

    class Broken(Node[Any, Any]):
        def prep(self, _: Any) -> None:
            if hook == "prep":
                raise KeyError(hook)

        def post(self, *_: Any) -> None:
            raise KeyError(hook)

    with pytest.raises(KeyError, match=hook) as caught:
        await Graph(Node() >> Broken()).run_async({})
    assert caught.value.__notes__ == ["in node 'Broken'"]


async def test_a_failing_round_is_named() -> None:
    """A BatchGraph's round is an item: the note of the node within is kept."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"n": 1}, {"n": 2}]

    with pytest.raises(ValueError, match="x") as caught:
        await Rounds(Fails(1, ValueError("x"))).run_async({})
    assert "'Fails'" in caught.value.__notes__[0]


async def test_an_error_keeps_the_notes_of_the_user() -> None:
    """Ours is added to theirs."""
    error = ValueError("x")
    error.add_note("look at line 3")
    with pytest.raises(ValueError, match="x"):
        await Fails(0, error).run_async({})
    assert error.__notes__ == ["look at line 3", "in node 'Fails'"]


async def test_a_timeout_is_noted_as_any_error() -> None:
    """AttemptTimeoutError carries the place as well."""

    class Slow(Batch):
        async def exec(self, item: int) -> int:
            await asyncio.sleep(100)
            return item

    with pytest.raises(AttemptTimeoutError) as caught:
        await Slow(timeout=3, max_workers=1).run_async({"items": ["a"]})
    assert caught.value.__notes__ == ["in node 'Slow', item 0 ('a')"]


async def test_an_error_route_gets_the_error() -> None:
    """`- "error" >>` is followed when attempts and fallback are spent; self.error is it."""

    class Handles(Node[Any, Any]):
        def prep(self, shared: Any) -> None:
            shared["error"] = self.error

    error = ValueError("x")
    node, shared = Fails(1, error, max_retries=3), dict[str, Any]()
    node - "error" >> Handles()
    await Graph(node).run_async(shared)
    assert shared["error"] is error
    assert asyncio.get_running_loop().time() == pytest.approx(3)


def test_a_recorded_run_goes_on_behind_an_error_route_when_it_is_resumed(tmp_path: Path) -> None:
    """The node that failed is not run again, and its error is that of the first run."""

    class Breaks(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            calls.append("breaks")
            raise ValueError("broken")

    class Handles(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            calls.append(f"handles {self.error!r}")
            if len(calls) == 2:
                raise KeyboardInterrupt

    calls: list[str] = []
    breaks = Breaks()
    breaks - "error" >> Handles()
    with pytest.raises(KeyboardInterrupt):
        Graph(breaks).run({}, journal=Journal(tmp_path / "runs.db", run="a"))
    Graph(breaks).run({}, journal=Journal(tmp_path / "runs.db", run="a"))
    assert calls == ["breaks", *["handles ValueError('broken')"] * 2]


async def test_nothing_is_left_of_a_failed_run() -> None:
    """The same graph runs again after a failure, as if nothing had been."""
    graph, shared = Graph([Batch(name="a"), Batch(name="b")], max_workers=1), {"items": [1, -1, 2]}
    tasks = asyncio.all_tasks()
    for _ in range(3):
        with pytest.raises(ValueError, match="-1"):
            await graph.run_async(shared)
        assert asyncio.all_tasks() == tasks
    shared["items"] = [1, 2]
    await graph.run_async(shared)
