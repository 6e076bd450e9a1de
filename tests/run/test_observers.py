"""Observers that say ``items = False``: items run unobserved, and each failure is reported."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from kaygraph import (
    AttemptStarted,
    BatchFinished,
    BatchGraph,
    BatchNode,
    Drop,
    Event,
    Graph,
    ItemFailed,
    ItemFinished,
    ItemRetried,
    ItemStarted,
    MapReduceNode,
    Node,
    NodeFinished,
    NodeStarted,
    ParallelBatchNode,
    Pipeline,
    RunFinished,
    RunReport,
    RunStarted,
    StageFinished,
    StageStarted,
    settle,
)
from kaygraph.node.blocks import DROPPED
from kaygraph.nodes import node
from kaygraph.run.frame import FRAME
from tests.blocks import OURS

pytestmark = pytest.mark.anyio


class OfNodes:
    """Looks at nodes, and at those items that fail."""

    items = False

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: Event, /) -> None:
        self.events.append(event)

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def kinds(self) -> list[type[Any]]:
        return [type(event) for event in self.events]

    def failures(self) -> Counter[tuple[str, int, str]]:
        return Counter((one.node, one.item, one.status) for one in self.of(ItemFailed))


class Numbers:
    """What every node here works on: it ends an item as that says."""

    def prep(self, shared: Any) -> Any:
        return shared["items"]

    def ended(self, item: Any) -> Any:
        match item:
            case "fail":
                raise ValueError(item)
            case "drop":
                raise Drop
            case "cancel":
                STOP[-1]()
        return item


STOP: list[Callable[[], object]] = [lambda: None]  # cancels the run


class Batch(Numbers, ParallelBatchNode[Any, Any]):
    async def exec(self, item: Any) -> Any:
        value = self.ended(item)
        if item in ("cancel", "wait"):
            await asyncio.Event().wait()
        return value


class InThreads(Numbers, ParallelBatchNode[Any, Any]):
    def exec(self, item: Any) -> Any:
        return self.ended(item)


class OneByOne(Numbers, BatchNode[Any, Any]):
    def exec(self, item: Any) -> Any:
        return self.ended(item)


class Suspended(Batch):
    async def exec(self, item: Any) -> Any:
        await asyncio.sleep(0)
        return await super().exec(item)


class InBlocks(Batch):
    """Works on several items in one call."""

    __module__ = OURS

    async def exec(self, item: Any) -> Any:
        return await super().exec(item)

    async def exec_block(self, items: list[Any]) -> Any:
        if "cancel" in items:
            STOP[-1]()
            await asyncio.Event().wait()
        return map(lambda item: DROPPED if item == "drop" else self.ended(item), items)


class Listed(Batch):
    def prep(self, shared: Any) -> Any:
        async def listed() -> Any:
            for item in shared["items"]:
                yield item

        return listed()


# --- what is reported------------------------------------------------------------------------------


async def test_a_node_is_reported_and_its_items_are_not() -> None:
    """Of a batch: its begin, what became of its items, and its end."""
    seen = OfNodes()
    await Graph(Batch()).run_async({"items": [1, 2, 3]}, observers=[seen])
    assert seen.kinds == [RunStarted, NodeStarted, BatchFinished, NodeFinished, RunFinished]
    finished = seen.events[2]
    assert finished[:1] + finished[2:7] == ("Batch", 3, 3, 0, 0, 0)
    assert finished.seconds >= 0


async def test_stages_are_reported_and_their_items_are_not() -> None:
    """Their figures come with their end, as for every observer."""
    seen = OfNodes()
    await Graph(Batch(name="a", on_error="skip") | Batch(name="b")).run_async(
        {"items": [1, "fail", 3]}, observers=[seen]
    )
    assert seen.kinds == [
        RunStarted, NodeStarted, StageStarted, StageStarted, ItemFailed, StageFinished,
        StageFinished, NodeFinished, RunFinished,
    ]  # fmt: skip
    assert [event.items for event in seen.of(StageFinished)] == [3, 2]


async def test_an_item_runs_as_if_nobody_looked() -> None:
    """``exec`` is awaited directly, in a batch, a stage and a single node."""
    frames: list[bool] = []

    class Look(Batch):
        async def exec(self, item: Any) -> None:
            frames.append(FRAME.get().bare)

    class One(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            frames.append(FRAME.get().bare)

    for work in (Look(), Look(name="a") | Look(name="b"), One(), settle(Graph(Look()), One())):
        await Graph(work).run_async({"items": [1]}, observers=[OfNodes()])
    assert frames[:4] == [True] * 4
    frames.clear()
    await Graph(Look()).run_async({"items": [1]}, observers=[OfNodes(), [].append])
    assert frames == [False]


async def test_who_wants_items_gets_them_together_with_who_does_not() -> None:
    """Each of three observers has what it asks for."""
    seen, all_of_it, report = OfNodes(), list[Event](), RunReport()
    work = Graph(Batch(max_retries=2, on_error="collect"))
    await work.run_async({"items": [1, "fail"]}, observers=[seen, all_of_it.append, report])
    of_items = {ItemStarted, AttemptStarted, ItemFinished}
    assert of_items <= set(map(type, all_of_it))
    assert seen.events == [event for event in all_of_it if type(event) not in of_items]
    assert report.items == {"ok": 1, "failed": 1, "skipped": 0, "cancelled": 0, "timed_out": 0}


async def test_a_retry_is_reported_and_the_attempt_is_not() -> None:
    """An item that is tried again works in the end: its failure is reported once."""
    seen = OfNodes()

    class Once(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            if self.attempt == 1:
                raise ValueError("first")

    await Graph(Once(max_retries=2)).run_async(observers=[seen])
    assert seen.kinds == [RunStarted, NodeStarted, ItemRetried, NodeFinished, RunFinished]


async def test_an_observer_with_items_of_another_kind_gets_all() -> None:
    """Only ``False`` says that it needs none; a function can say so as well."""
    seen: list[Event] = []

    def observer(event: Event, /) -> None:
        seen.append(event)

    observer.items = {}  # type: ignore[attr-defined]
    await Graph(Batch()).run_async({"items": [1]}, observers=[observer])
    assert ItemStarted in map(type, seen)
    seen.clear()
    observer.items = False  # type: ignore[attr-defined]
    await Graph(Batch()).run_async({"items": [1]}, observers=[observer])
    assert ItemStarted not in map(type, seen)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_the_only_item_of_a_node_that_fails_is_reported(asynchronous: bool) -> None:
    """With its attempt and its error, which names the node; ``prep`` and ``post`` have no item."""

    class Fails(Node[Any, Any]):
        def prep(self, shared: Any) -> Any:
            return shared["where"] == "prep" and 1 / 0

        if asynchronous:

            async def exec(self, _: Any) -> Any:
                raise ValueError("exec")

        else:

            def exec(self, _: Any) -> Any:
                raise ValueError("exec")

    for where, number in (("prep", 0), ("exec", 1)):
        seen = OfNodes()
        with pytest.raises((ValueError, ZeroDivisionError)):
            Graph(Fails()).run({"where": where}, observers=[seen])
        failed = seen.of(ItemFailed)
        assert len(failed) == number
        if failed:
            assert failed[0][:1] + failed[0][2:7] == ("Fails", 0, 0, 1, 0.0, "failed")
            assert failed[0].error.__notes__ == ["in node 'Fails'"]


async def test_nested_graphs_rounds_and_groups_are_reported_by_their_names() -> None:
    """A BatchGraph says how many rounds there were; the nodes within have the names around."""

    class Rounds(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{}, {}]

    seen = OfNodes()
    inner = Graph(Batch(on_error="skip"), name="inner")
    rounds = Rounds(inner, name="rounds")
    await Graph(rounds, name="all").run_async({"items": [1, "fail"]}, observers=[seen])
    assert [(event.node, event.items, event.ok, event.skipped) for event in seen.of(BatchFinished)]
    assert seen.failures() == {("rounds/inner/Batch", 1, "skipped"): 2}
    assert [(one.node, one.items, one.skipped) for one in seen.of(BatchFinished)] == [
        ("rounds/inner/Batch", 2, 1), ("rounds/inner/Batch", 2, 1), ("rounds", 2, 0),
    ]  # fmt: skip


async def test_a_run_within_a_hook_tells_those_around_of_nodes() -> None:
    """On the same loop, and in a thread, where it has a loop of its own."""
    inner = Graph(Batch(on_error="skip"), name="inner")

    class Here(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            await inner.run_async({"items": [1, "fail"]})

    class There(Node[Any, Any]):
        def exec(self, _: Any) -> None:
            inner.run({"items": [1, "fail"]})

    for outer in (Here(), There()):
        seen = OfNodes()
        await Graph(outer).run_async(observers=[seen])
        assert seen.failures() == {(f"{outer.name}/inner/Batch", 1, "skipped"): 1}
        assert not seen.of(ItemStarted, ItemFinished)
        assert [one.items for one in seen.of(BatchFinished)] == [2]


async def test_both_phases_of_a_map_reduce_are_reported() -> None:
    """As batches, the mapped items and the parts that are reduced."""

    class Count(MapReduceNode):
        def prep(self, shared: Any) -> Any:
            return ["a b", "b"]

        def map(self, item: str) -> Iterator[Any]:
            for word in item.split():
                yield word, 1

    seen = OfNodes()
    await Graph(Count(name="count", partitions=2)).run_async(observers=[seen])
    found = {one.node: (one.items, one.ok) for one in seen.of(BatchFinished)}
    assert found == {"count/map": (2, 2), "count/reduce": (2, 2)}


async def test_items_go_to_threads_in_chunks_as_if_nobody_looked() -> None:
    """Several calls in one step of a thread, and their failures are reported with their index."""
    threads: set[int] = set()

    class Threads(InThreads):
        def exec(self, item: Any) -> Any:
            threads.add(threading.get_ident())
            return self.ended(item)

    seen = OfNodes()
    work = Threads(max_workers=2, on_error="collect", max_retries=2)
    items = [*range(200), "fail", *range(200), "drop"]
    await Graph(work).run_async({"items": items}, observers=[seen])
    assert seen.failures() == {("Threads", 200, "failed"): 1, ("Threads", 401, "skipped"): 1}
    assert [one.attempts for one in seen.of(ItemFailed)] == [2, 1]
    assert [one[2:7] for one in seen.of(BatchFinished)] == [(402, 400, 1, 1, 0)]
    assert threading.get_ident() not in threads


# --- the accounting -------------------------------------------------------------------------------

SHAPES: dict[str, Callable[..., Any]] = {
    "batch": lambda **settings: Batch(max_workers=2, **settings),
    "one worker": lambda **settings: Batch(max_workers=1, **settings),
    "items that suspend": lambda **settings: Suspended(max_workers=3, **settings),
    "async source": lambda **settings: Listed(max_workers=2, **settings),
    "in threads": lambda **settings: InThreads(max_workers=2, **settings),
    "in the calling thread": OneByOne,
    "in blocks": lambda **settings: InBlocks(max_workers=4, **settings),
    "several attempts": lambda **settings: Batch(max_workers=2, max_retries=2, **settings),
    "stages": lambda **settings: Pipeline(Batch(name="a", **settings), Batch(name="b", **settings)),
    "stages of one worker": lambda **settings: Pipeline(
        Batch(max_workers=1, name="a", **settings), Suspended(max_workers=1, name="b", **settings)
    ),
    "stages of blocks": lambda **settings: Pipeline(
        InBlocks(max_workers=1, name="a", **settings), InBlocks(max_workers=1, name="b", **settings)
    ),
}
ENDS = (
    [1, 2, 3, 4],
    [1, "fail", 3, "drop", 5, "fail", 7],
    ["fail"],
    [1, "cancel", "wait", 3],
    [1, 2, "drop", "cancel"],
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("on_error", ["raise", "skip", "collect", 1, 0.9])
def test_each_item_is_accounted_for_once(shape: str, on_error: Any) -> None:
    """Failures are those of a run whose items are observed; the rest is what the batch says."""
    for items in ENDS:
        seen, all_of_it = OfNodes(), list[Any]()
        observers: list[Any]
        for observers in ([seen], [all_of_it.append]):
            _ended(SHAPES[shape](on_error=on_error), items, observers)
        if all_of_it[-1].error is None:
            assert seen.failures() == Counter(
                (one.node, one.item, one.status) for one in all_of_it if isinstance(one, ItemFailed)
            )
        assert all(number == 1 for number in seen.failures().values())
        assert len(seen.of(BatchFinished)) == (not shape.startswith("stages"))
        for batch in seen.of(BatchFinished):
            counts = Counter(one.status for one in seen.of(ItemFailed))
            assert (batch.failed, batch.skipped, batch.cancelled) == (
                counts["failed"], counts["skipped"], counts["cancelled"],
            )  # fmt: skip
            assert batch.items == batch.ok + batch.failed + batch.skipped + batch.cancelled


def _ended(work: Any, items: list[Any], observers: list[Any]) -> None:
    """Run some work to its end, also where an item cancels it."""

    async def main() -> None:
        run = Graph(work).launch({"items": items}, observers=observers)
        loop = asyncio.get_running_loop()
        STOP.append(lambda: loop.call_soon_threadsafe(run.cancel))
        try:
            await run
        except (ValueError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            STOP.pop()

    if isinstance(work, OneByOne) and "cancel" not in items:
        with suppress(ValueError, ExceptionGroup):
            Graph(work).run({"items": items}, observers=observers)
    else:
        asyncio.run(main())


def test_a_ready_made_function_node_is_reported_as_well() -> None:
    """Functions as nodes are plain, and their failures are reported."""

    @node(reads="price")
    async def tax(price: Any) -> float:
        raise ConnectionError("no answer")

    seen = OfNodes()
    with pytest.raises(ConnectionError):
        Graph(tax).run({"price": 1}, observers=[seen])
    assert [one.status for one in seen.of(ItemFailed)] == ["failed"]
