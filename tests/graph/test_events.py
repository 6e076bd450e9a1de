"""``graph.events``: what happens in a run, read while it happens."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaygraph import (
    BatchFinished,
    DeadlineExceededError,
    Graph,
    ItemFinished,
    ItemStarted,
    Journal,
    Node,
    NodeFinished,
    NodeStarted,
    ParallelBatchNode,
    RunFinished,
    RunStarted,
    Said,
)
from kaygraph.testing import cancel_everywhere
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Batch(ParallelBatchNode[Any, Any]):
    def prep(self, shared: Any) -> Any:
        return shared["items"]

    async def exec(self, item: Any) -> Any:
        if item == "fail":
            raise ValueError(item)
        return item


class Ends(Node[Any, Any]):
    """Notes that it has begun, and that it was cleaned up."""

    def prep(self, shared: Any) -> Any:
        return shared

    async def exec(self, shared: Any) -> None:
        shared["begun"] = True
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            shared["cleaned"] = True


async def read(
    graph: Any,
    shared: Any,
    found: list[Any],
    each: Callable[[], Any] | None = None,
    **settings: Any,
) -> None:
    """Read events to the end; ``each`` is called after each of them."""
    async with graph.events(shared, **settings) as events:
        async for event in events:
            found.append(event)
            if each is not None:
                await each()


async def test_events_are_read_to_the_end_of_the_run() -> None:
    """Of nodes; then the action is known."""

    class Last(Node[Any, Any]):
        def post(self, *_: Any) -> str:
            return "done"

    batch = Batch()
    batch >> Last(name="last")
    found = []
    async with Graph(batch, name="all").events({"items": [1, 2]}) as events:
        async for event in events:
            found.append((type(event), event.node))
            assert events.action is None
    assert found == [
        (RunStarted, "all"), (NodeStarted, "Batch"), (BatchFinished, "Batch"),
        (NodeFinished, "Batch"), (NodeStarted, "last"), (NodeFinished, "last"),
        (RunFinished, "all"),
    ]  # fmt: skip
    assert (events.action, events.dropped) == ("done", 0)


async def test_events_of_items_come_where_they_are_asked_for() -> None:
    """And other observers get what they ask for."""
    others: list[Any] = []
    async with Graph(Batch()).events(
        {"items": [1]}, items=True, observers=[others.append]
    ) as events:
        found = [event async for event in events]
    assert found == others
    assert {ItemStarted, ItemFinished} <= set(map(type, found))


async def test_the_error_of_the_run_is_raised_at_the_end() -> None:
    """After all events; once."""
    found = list[Any]()
    with pytest.raises(ValueError, match="fail") as caught:
        await read(Graph(Batch()), {"items": ["fail"]}, found)
    assert isinstance(found[-1], RunFinished)
    assert found[-1].error is caught.value
    async with Graph(Batch()).events({"items": ["fail"]}) as events:
        with pytest.raises(ValueError, match="fail"):
            await _last(events)
        assert [event async for event in events] == []
    assert events.action is None


async def _last(events: Any) -> Any:
    return [event async for event in events][-1]


async def test_leaving_the_block_ends_the_run() -> None:
    """By break, when what it held is cleaned up; the action is None."""
    shared: dict[str, Any] = {}
    async with Graph(Ends()).events(shared) as events:
        async for event in events:
            if isinstance(event, NodeStarted):
                break
        await asyncio.sleep(1)
    assert shared["cleaned"]
    assert events.run.done()
    assert events.action is None


async def test_an_error_of_the_reader_ends_the_run_and_goes_on() -> None:
    """It is not replaced by the cancellation."""
    shared: dict[str, Any] = {}

    async def fails() -> None:
        await asyncio.sleep(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await read(Graph(Ends()), shared, [], fails)
    assert shared["cleaned"]


async def test_a_reader_that_is_cancelled_ends_the_run() -> None:
    """As a deadline of its own does."""
    shared: dict[str, Any] = {}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(Graph(Ends()), shared, []), 5)
    assert shared["cleaned"]


async def test_a_run_that_has_failed_is_not_passed_over() -> None:
    """Also where the reader leaves before it has read so far."""

    async def leave() -> None:
        async with Graph(Batch()).events({"items": ["fail"]}) as events:
            await asyncio.sleep(1)
            assert events.run.done()

    with pytest.raises(ValueError, match="fail"):
        await leave()


async def test_an_error_in_the_clean_up_is_raised() -> None:
    """Of a run that the reader has left."""

    class Fails(Ends):
        async def exec(self, shared: Any) -> None:
            try:
                await super().exec(shared)
            finally:
                raise ValueError("while it was cleaned up")

    async def leave() -> None:
        async with Graph(Fails()).events({}):
            await asyncio.sleep(1)

    with pytest.raises(ValueError, match="cleaned up"):
        await leave()


async def test_a_clean_up_that_fails_does_not_replace_the_error_of_the_reader() -> None:
    """The handler of the loop is called."""

    class Fails(Ends):
        async def exec(self, shared: Any) -> None:
            try:
                await super().exec(shared)
            finally:
                raise ValueError("while it was cleaned up")

    async def fails() -> None:
        await asyncio.sleep(1)
        raise LookupError("mine")

    loop, errors = asyncio.get_running_loop(), list[Any]()
    loop.set_exception_handler(lambda _, context: errors.append(str(context["exception"])))
    try:
        with pytest.raises(LookupError, match="mine"):
            await read(Graph(Fails()), {}, [], fails)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(Graph(Fails()), {}, []), 5)
    finally:
        loop.set_exception_handler(None)
    assert errors == ["while it was cleaned up"] * 2


async def test_a_slow_reader_slows_nothing_but_itself() -> None:
    """The oldest events are dropped, and counted; the end is always there."""
    lasted: list[float] = []

    class Talks(Node[Any, Any]):
        async def exec(self, _: Any) -> None:
            began = asyncio.get_running_loop().time()
            for number in range(100):
                self.say(number)
                await asyncio.sleep(0.1)
            lasted.append(asyncio.get_running_loop().time() - began)

    found = []
    async with Graph(Talks()).events({}, size=10) as events:
        async for event in events:
            found.append(event)
            await asyncio.sleep(3)
    assert lasted == [pytest.approx(10)]
    assert events.dropped == 104 - len(found) > 0
    assert isinstance(found[-1], RunFinished)
    values = [event.value for event in found if isinstance(event, Said)]
    assert values == sorted(values)


@pytest.mark.parametrize("items", [False, True])
async def test_a_reader_keeps_up_with_a_run_that_never_waits(items: bool) -> None:
    """So many nodes, or items, that their events have no room at once."""
    shared = {"items": [1] if not items else range(5_000)}
    first = last = Batch(name="0")
    for number in range(1, 2 if items else 2_000):
        last = last.next(Batch(name=str(number)))
    async with Graph(first).events(shared, items=items) as events:
        found = [event async for event in events]
    assert events.dropped == 0
    assert len(found) > 2 * (5_000 if items else 2_000)


async def test_a_deadline_ends_the_run() -> None:
    """And is raised from the iterator."""
    with pytest.raises(DeadlineExceededError):
        await read(Graph(Ends()), {}, [], deadline=3)


def test_a_recorded_run_can_be_read(tmp_path: Path) -> None:
    """What has come to its end is not done again, and that is what is read."""

    async def main() -> list[Any]:
        journal = Journal(tmp_path / "runs.db", run="one")
        async with Graph(Batch()).events({"items": [1, 2]}, journal=journal, items=True) as events:
            return [event async for event in events if isinstance(event, ItemFinished)]

    assert len(asyncio.run(main())) == 2


async def test_a_run_that_was_cancelled_just_ends() -> None:
    """By hand, through ``events.run``; drained, it comes to its end."""
    async with Graph(Ends()).events({}) as events:
        assert isinstance(await anext(events), RunStarted)
        events.run.cancel()
        assert isinstance(await _last(events), RunFinished)
    async with Graph(Batch()).events({"items": [1]}) as events:
        events.run.drain()
        assert isinstance([event async for event in events][-1], RunFinished)


async def test_a_block_is_needed_and_is_entered_once() -> None:
    """The messages say so."""
    events = Graph(Batch()).events({"items": []})
    with pytest.raises(RuntimeError, match="async with"):
        await anext(aiter(events))
    async with events:
        pass
    with pytest.raises(RuntimeError, match=r"call events\(\) again for another"):
        async with events:
            pass
    with pytest.raises(ValueError, match="size"):
        Graph(Batch()).events({}, size=0)


async def test_two_tasks_cannot_read_one_run() -> None:
    """Each event would come to one of them."""
    async with Graph(Ends()).events({}) as events:
        await asyncio.sleep(1)
        [await anext(events) for _ in range(2)]
        waits = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await anext(events)
        waits.cancel()
        await asyncio.wait([waits])


@pytest.mark.parametrize("again", [None, 1, 3])
def test_nothing_is_left_of_a_run_whose_reader_is_cancelled_at_any_step(again: int | None) -> None:
    """Neither of one that reads events, nor of one that reads results, nor of one that leaves."""

    class Holds(Batch):
        async def exec(self, item: Any) -> Any:
            try:
                self.say(item)
                await asyncio.sleep(1)
            finally:
                await asyncio.sleep(0)
            return item

    def graph() -> Graph:
        first = Holds(max_workers=2, name="first")
        first >> (Holds(name="a") | Holds(max_workers=1, name="b"))
        return Graph(first)

    async def events(shared: Any) -> None:
        async with graph().events(shared, items=True) as events:
            async for _ in events:
                await asyncio.sleep(0)

    async def results(shared: Any) -> None:
        async with graph().results(shared, "Pipeline/a") as results:
            async for _ in results:
                pass

    async def leaves(shared: Any) -> None:
        async with graph().events(shared) as events:
            async for event in events:
                if isinstance(event, Said):
                    break

    for reader in (events, results, leaves):
        assert cancel_everywhere(reader, {"items": [1, 2, 3]}, again=again) >= 20


@pytest.mark.parametrize("whole", [True, False])
async def test_a_task_that_was_cancelled_before_reads_a_run(whole: bool) -> None:
    """In a clean-up, or where a ``TaskGroup`` of Python 3.11 or 3.12 has left its mark."""
    read: list[str] = []

    async def cleans_up() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            async with Graph(Batch()).events({"items": [1, 2]}) as events:
                async for event in events:
                    read.append(type(event).__name__)
                    if not whole:
                        break
            read.append("left")

    task = asyncio.create_task(cleans_up())
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert read[0] == "RunStarted"
    assert read[-2:] == (["RunFinished", "left"] if whole else ["RunStarted", "left"])


async def test_a_task_that_is_cancelled_once_more_reads_no_further() -> None:
    """The cancellation goes on, and the run is cleaned up."""
    shared: dict[str, Any] = {}

    async def reads() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            async with Graph(Ends()).events(shared) as events:
                async for _ in events:
                    pass

    task = asyncio.create_task(reads())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shared["cleaned"]
