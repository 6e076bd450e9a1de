"""What observers get, in which order, and what happens to one that fails."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kaygraph import (
    AttemptStarted,
    Drop,
    Event,
    Graph,
    ItemFailed,
    ItemFinished,
    ItemRetried,
    ItemStarted,
    Node,
    NodeFinished,
    NodeStarted,
    ParallelBatchNode,
    RunFinished,
    RunStarted,
)
from kaygraph.run.observers import MOST_IN_A_ROW
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


@contextmanager
def reported() -> Iterator[list[Any]]:
    """Collect what is reported to the loop's exception handler."""
    loop, contexts = asyncio.get_running_loop(), list[Any]()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    try:
        yield contexts
    finally:
        loop.set_exception_handler(before)


class Work(Node[Any, Any]):
    """Takes two seconds, fails its first attempt and names the way on."""

    async def exec(self, _: Any) -> None:
        await asyncio.sleep(2)
        if self.attempt == 1:
            raise ValueError("first")

    def post(self, *_: Any) -> str:
        return "on"


class Batch(ParallelBatchNode[Any, Any]):
    """Ends each item as the item says."""

    def prep(self, shared: Any) -> Any:
        return shared

    async def exec(self, item: Any) -> Any:
        match item:
            case "fail":
                raise ValueError(item)
            case "drop":
                raise Drop
            case "hang":
                await asyncio.Event().wait()
        await asyncio.sleep(1)


async def test_a_run_is_reported_from_start_to_end() -> None:
    """Every event of a small run, in order, with times of the loop's clock."""
    events: list[Any] = []
    first, last = Work(name="first", max_retries=2, wait=5), Node(name="last")
    first - "on" >> last
    await Graph(first, name="all").run_async({}, observers=[events.append])
    error = events[3].error
    assert events == [
        RunStarted("all", 0),
        NodeStarted("first", 0),
        ItemStarted("first", 0, 0, 0),
        ItemRetried("first", 2, 0, 0, 1, error, 5),
        AttemptStarted("first", 7, 0, 0, 2),
        ItemFinished("first", 9, 0, 0, 2, 4),
        NodeFinished("first", 9, 9, "on", None),
        NodeStarted("last", 9),
        NodeFinished("last", 9, 0, None, None),
        RunFinished("all", 9, 9, None, None),
    ]
    assert list(map(type, events)) == [
        RunStarted, NodeStarted, ItemStarted, ItemRetried, AttemptStarted, ItemFinished,
        NodeFinished, NodeStarted, NodeFinished, RunFinished,
    ]  # fmt: skip


async def test_a_failed_run_is_reported_to_its_end() -> None:
    """The item, the node and the run each end with the error."""
    events: list[Any] = []
    with pytest.raises(ValueError, match="fail") as caught:
        await Graph(Batch()).run_async(["fail"], observers=[events.append])
    ends = [e for e in events if isinstance(e, ItemFailed | NodeFinished | RunFinished)]
    assert list(map(type, ends)) == [ItemFailed, NodeFinished, RunFinished]
    assert all(event.error is caught.value for event in ends)


async def test_a_cancelled_run_is_reported_to_its_end() -> None:
    """Items that ran are counted as cancelled, and the run's end is an event too."""
    events: list[Any] = []
    work = Graph(Batch(max_workers=2)).run_async(["hang"] * 5, observers=[events.append])
    task = asyncio.create_task(work)
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    failed = [event for event in events if isinstance(event, ItemFailed)]
    assert [(event.item, event.status) for event in failed] == [(0, "cancelled"), (1, "cancelled")]
    assert isinstance(events[-1], RunFinished)
    assert isinstance(events[-1].error, asyncio.CancelledError)


async def test_every_item_that_starts_ends_with_one_event() -> None:
    """ItemFinished or ItemFailed, with the status under which it is counted."""
    items, events = ["ok", "fail", "drop", "ok", "hang"], list[Any]()
    await Batch(on_error="collect", timeout=3).run_async(items, observers=[events.append])
    started = [event.item for event in events if isinstance(event, ItemStarted)]
    statuses = {
        event.item: getattr(event, "status", "ok")
        for event in events
        if isinstance(event, ItemFinished | ItemFailed)
    }
    assert sorted(started) == sorted(statuses) == list(range(5))
    assert [statuses[item] for item in range(5)] == ["ok", "failed", "skipped", "ok", "timed_out"]


async def test_an_item_cancelled_before_its_permit_never_started() -> None:
    """It is counted as cancelled, with no attempt made."""

    class Async(Batch):
        async def prep(self, shared: Any) -> Any:  # an item is pulled before its permit is there
            for item in shared:
                yield item

    events: list[Any] = []
    graph = Graph([Async(name="a"), Async(name="b")], max_workers=1)
    task = asyncio.create_task(graph.run_async(["hang"], observers=[events.append]))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    started = [event.node for event in events if isinstance(event, ItemStarted)]
    failed = {e.node: e.attempts for e in events if isinstance(e, ItemFailed)}
    assert len(started) == 1
    assert sum(failed.values()) == 1
    assert failed.keys() == {"a", "b"}


async def test_a_node_in_a_graph_in_a_graph_is_named_with_its_path() -> None:
    """The names of the graphs around it stand before it, without the outermost."""
    events: list[Any] = []
    inner = Graph(Work(max_retries=2), name="Inner")
    await Graph(Node() >> inner, name="Outer").run_async({}, observers=[events.append])
    names = {event.node for event in events}
    assert names == {"Outer", "Node", "Inner", "Inner/Work"}


async def test_events_are_frozen() -> None:
    """An observer cannot change what the next one sees."""
    events: list[Any] = []
    await Work(max_retries=2).run_async({}, observers=[events.append])
    for event in events:
        with pytest.raises(AttributeError):
            event.node = "other"


async def test_observers_are_called_in_the_order_given() -> None:
    """Each with every event."""
    calls: list[tuple[str, Any]] = []
    await Work(max_retries=2).run_async(
        {}, observers=[lambda e: calls.append(("a", e)), lambda e: calls.append(("b", e))]
    )
    assert [who for who, _ in calls] == ["a", "b"] * (len(calls) // 2)
    assert all(one[1] is two[1] for one, two in zip(calls[::2], calls[1::2], strict=True))


async def test_an_observer_that_fails_once_is_reported_and_kept() -> None:
    """It breaks neither the run nor the other observers, and misses one event."""

    def hiccup(event: Event) -> None:
        calls.append(event)
        if len(calls) == 2:
            raise OSError("disk full")

    calls, events = list[Any](), list[Any]()
    with reported() as contexts:
        await Work(max_retries=2).run_async({}, observers=[hiccup, events.append])
    assert calls == events
    assert isinstance(events[-1], RunFinished)
    (context,) = contexts
    assert "disk full" in str(context["exception"])
    assert "at ItemStarted" in context["message"]


async def test_an_observer_that_keeps_failing_is_reported_twice_and_given_up() -> None:
    """The loop's handler is not flooded, and learns why nothing more is observed."""

    class Many(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(100)

        async def exec(self, item: int) -> int:
            return item

    def broken(event: Event) -> None:
        calls.append(event)
        raise OSError("disk full")

    calls, events = list[Any](), list[Any]()
    with reported() as contexts:
        await Many().run_async({}, observers=[broken, events.append])
    assert len(calls) == MOST_IN_A_ROW
    assert len(events) > 200
    assert ["in a row" in context["message"] for context in contexts] == [False, True]


async def test_an_observer_that_fails_now_and_then_is_reported_once() -> None:
    """It is kept, and the loop's handler gets the first of its many failures."""

    class Many(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(100)

        async def exec(self, item: int) -> int:
            return item

    def unsteady(event: Event) -> None:
        calls.append(event)
        if len(calls) % 2:
            raise OSError("disk full")

    calls, events = list[Any](), list[Any]()
    with reported() as contexts:
        await Many().run_async({}, observers=[unsteady, events.append])
    assert len(calls) == len(events) > 200
    assert len(contexts) == 1


async def test_an_observer_that_recovers_starts_over() -> None:
    """It is not given up for failures that were before."""

    def shaky(event: Event) -> None:
        calls.append(event)
        if len(calls) % 4:
            raise OSError("disk full")

    calls, events = list[Any](), list[Any]()
    with reported() as contexts:
        for _ in range(10):
            await Work(max_retries=2).run_async({}, observers=[shaky, events.append])
    assert calls == events
    assert len(contexts) == 10  # one for each run


async def test_without_observers_no_clock_is_read() -> None:
    """No observer, no cost."""
    loop: Any = asyncio.get_running_loop()
    node, reads, original = Batch(), 0, loop.time

    class Quick(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            await asyncio.sleep(0)

    class QuickBatch(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(20)

        async def exec(self, item: int) -> int:
            await asyncio.sleep(0)
            return item

    def time() -> float:
        nonlocal reads
        caller = sys._getframe(1).f_globals["__name__"]
        reads += caller.startswith("kaygraph")
        now: float = original()
        return now

    loop.time = time
    try:
        await Graph(Quick() >> [Quick(), QuickBatch(max_retries=2)] >> Quick()).run_async({})
        assert reads == 0
        await node.run_async([], observers=[lambda _: None])
        assert reads > 0  # what the test counts is really counted
    finally:
        del loop.time
