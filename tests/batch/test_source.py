"""Sources: one task makes all their steps, and what they hold or bind over a yield is their own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from itertools import count
from typing import Any

import anyio
import pytest

from kaygraph import (
    AwaitedCancelledError,
    BatchFinished,
    BatchGraph,
    Graph,
    ItemFailed,
    ItemFinished,
    MapReduceNode,
    Node,
    ParallelBatchNode,
    Pipeline,
)
from kaygraph.run.frame import FRAME
from kaygraph.testing import cancel_everywhere
from tests.clock import VIRTUAL, VirtualClockLoop

pytestmark = pytest.mark.anyio

USER: ContextVar[str] = ContextVar("user", default="nobody")


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Rows:
    """A source that holds scopes and a context variable over its yields."""

    def __init__(self, number: float = 12) -> None:
        self.number = number
        self.pulled = 0
        self.tasks: set[Any] = set()
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[int]:
        token = USER.set("source")
        self.tasks.add(asyncio.current_task())
        try:
            async with anyio.create_task_group() as group, asyncio.timeout(1000):
                group.start_soon(asyncio.sleep, 1)
                with anyio.fail_after(1000):
                    while self.pulled < self.number:
                        await asyncio.sleep(self.pulled % 2)
                        self.pulled += 1
                        yield self.pulled
                        self.tasks.add(asyncio.current_task())
                        assert USER.get() == "source"
        finally:
            await asyncio.sleep(1)
            self.tasks.add(asyncio.current_task())
            USER.reset(token)
            self.closed = True

    def plain(self) -> Iterator[int]:
        """The same without what needs a task."""
        token = USER.set("source")
        try:
            while self.pulled < self.number:
                self.pulled += 1
                yield self.pulled
                assert USER.get() == "source"
        finally:
            USER.reset(token)
            self.closed = True


class Batch(ParallelBatchNode[Any, Any]):
    """Works on rows, some longer than others; the item ``fails`` fails."""

    def __init__(self, items: Any, fails: int | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.items, self.fails = items, fails
        self.users: set[str] = set()
        self.begun: list[Any] = []

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, item: Any) -> Any:
        self.begun.append(item)
        self.users.add(USER.get())
        await asyncio.sleep(item % 3)
        if item == self.fails:
            raise ValueError(item)
        return item


class Mapped(MapReduceNode):
    def __init__(self, items: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        return self.items

    async def map(self, item: Any) -> Any:
        await asyncio.sleep(item % 3)
        return [(item, USER.get())]


class Rounds(BatchGraph):
    def prep(self, _: Any) -> Any:
        async def params() -> AsyncIterator[dict[str, int]]:
            async with aclosing(aiter(self.rows)) as rows:  # type: ignore[attr-defined, type-var]
                async for number in rows:
                    yield {"number": number}

        return params()


class Waits(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(self.params["number"] % 3)


def rounds(rows: Rows, workers: int) -> Any:
    made = Rounds(Waits(), max_workers=workers)
    made.rows = rows  # type: ignore[attr-defined]
    return made


MAKES: dict[str, Callable[[Rows, int], Any]] = {
    "batch": lambda rows, workers: Batch(rows, max_workers=workers),
    "map-reduce": lambda rows, workers: Mapped(rows, map_workers=workers),
    "rounds": rounds,
    "first stage": lambda rows, workers: Pipeline(Batch(rows, max_workers=workers), buffer=2),
}


@pytest.mark.parametrize("workers", [1, 4, 50])
@pytest.mark.parametrize("kind", MAKES)
async def test_one_task_makes_every_step_of_a_source(kind: str, workers: int) -> None:
    """Scopes and context variables that it holds over its yields work; it is closed there too."""
    rows = Rows()
    await Graph(MAKES[kind](rows, workers)).run_async({})
    assert (rows.pulled, rows.closed, len(rows.tasks)) == (12, True, 1)


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_source_that_is_left_early_is_closed_in_its_task(workers: int) -> None:
    """After a failure, a cancellation, and when the reader of a stream leaves."""
    failed, cancelled, left = Rows(), Rows(), Rows()
    with pytest.raises(ValueError, match="5"):
        await Batch(failed, fails=5, max_workers=workers).run_async({})
    run = Batch(cancelled, max_workers=workers).launch({})
    await asyncio.sleep(3)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    async with aclosing(Batch(left, max_workers=workers).stream({})) as outcomes:
        await anext(outcomes)
    for rows in (failed, cancelled, left):
        assert (rows.closed, len(rows.tasks)) == (True, 1)
        assert rows.pulled < 12


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_items_do_not_see_what_a_source_binds(kind: str, workers: int) -> None:
    """A context variable that a generator sets is set for the generator, and reset at its end."""
    rows = Rows()
    batch = Batch(rows if kind == "async" else rows.plain(), max_workers=workers)
    await batch.run_async({})
    assert rows.closed
    assert batch.users == {"nobody"}
    assert USER.get() == "nobody"


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_plain_source_is_closed_in_its_context(workers: int) -> None:
    """A token of a context variable fits, also where the source is not read to its end."""
    rows, other = Rows(), Rows()
    with pytest.raises(ValueError, match="5"):
        await Batch(rows.plain(), fails=5, max_workers=workers).run_async({})
    async with aclosing(Pipeline(Batch(other.plain()), buffer=1).stream({})) as results:
        await anext(results)
    assert rows.closed
    assert other.closed


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_source_is_read_as_far_as_workers_ask(workers: int) -> None:
    """A step for each worker that is free, and none in advance."""

    class Stuck(Batch):
        async def exec(self, item: Any) -> Any:
            await asyncio.sleep(1000)

    rows = Rows(float("inf"))
    run = Stuck(rows, max_workers=workers).launch({})
    await asyncio.sleep(900)
    assert rows.pulled == workers
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_limit_that_a_source_holds_is_its_own(workers: int) -> None:
    """It ends the batch with its error, and is not taken for a cancellation of an item."""

    async def rows() -> AsyncIterator[int]:
        with anyio.fail_after(10):
            for number in count():
                yield number

    class Slow(Batch):
        async def exec(self, item: Any) -> Any:
            await asyncio.sleep(4)

    with pytest.raises(TimeoutError):
        await Slow(rows(), max_workers=workers, on_error="collect").run_async({})
    assert asyncio.get_running_loop().time() == pytest.approx(10)


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_source_may_be_any_async_iterator(workers: int) -> None:
    """Without a way to close it, or to raise something in it."""

    class Countdown:
        left = 9

        def __aiter__(self) -> "Countdown":
            return self

        async def __anext__(self) -> int:
            await asyncio.sleep(0)
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return self.left

    batch = Batch(Countdown(), max_workers=workers)
    await batch.run_async({})
    assert sorted(batch.begun) == [*range(9)]


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_drain_ends_a_source_in_its_task(workers: int) -> None:
    """Also in the middle of its wait for an item."""
    rows = Rows(float("inf"))
    batch = Batch(rows, max_workers=workers)
    run = batch.launch({})
    await asyncio.sleep(5.5)
    run.drain()
    await run
    assert (rows.closed, len(rows.tasks)) == (True, 1)
    assert len(batch.begun) == rows.pulled


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_that_is_read_is_accounted_for(workers: int) -> None:
    """Also one that is on its way to its worker when the run is cancelled."""

    async def run(shared: dict[str, Any]) -> None:
        shared["rows"] = rows = Rows()
        shared["events"] = events = list[Any]()
        await Batch(rows, max_workers=workers).run_async({}, observers=[events.append])

    def check(shared: dict[str, Any]) -> None:
        if shared:
            ended = [e.item for e in shared["events"] if isinstance(e, ItemFinished | ItemFailed)]
            assert sorted(ended) == [*range(shared["rows"].pulled)]

    assert cancel_everywhere(run, {}, seeds=3, check=check) > 100


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_source_without_a_way_to_raise_in_it_may_be_cancelled(workers: int) -> None:
    """While it waits for a request: the cancellation ends the run at once."""

    class Ones:
        def __aiter__(self) -> "Ones":
            return self

        async def __anext__(self) -> int:
            return 1  # which takes a second

    batch = Batch(Ones(), max_workers=workers)
    run = batch.launch({})
    await asyncio.sleep(0.5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert asyncio.get_running_loop().time() == 0.5
    assert len(batch.begun) == workers


async def test_a_source_that_swallows_a_cancellation_ends_with_the_run() -> None:
    """What it yields then is not worked on."""
    steps: list[str] = []

    async def rows() -> AsyncIterator[int]:
        yield 0
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            steps.append("swallowed")
        try:
            yield 1
        finally:
            steps.append("closed")

    batch, events = Batch(rows(), max_workers=2), list[Any]()
    run = batch.launch({}, observers=[events.append])
    await asyncio.sleep(5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert steps == ["swallowed", "closed"]
    assert batch.begun == [0]
    (finished,) = [event for event in events if isinstance(event, BatchFinished)]
    assert (finished.items, finished.cancelled) == (1, 0)


async def test_a_source_is_asked_to_stop_once_however_often_a_run_drains() -> None:
    """A second request does not cut short what it does at its end."""
    rows = Rows(float("inf"))
    batch = Batch(rows, max_workers=2)
    run = batch.launch({})
    await asyncio.sleep(5.5)
    run.drain()
    run.drain()
    await run
    assert rows.closed
    assert len(batch.begun) == rows.pulled


async def test_an_item_whose_requester_was_cancelled_goes_to_another_worker() -> None:
    """The worker that comes next takes it, also if other code has cancelled the first."""
    asked = asyncio.Event()

    async def rows() -> AsyncIterator[int]:
        yield 0
        yield 1
        await asyncio.sleep(1)
        asked.set()
        batch.tasks[0].cancel()  # which waits for this item
        yield 2

    class Cancelled(Batch):
        tasks: list[Any]

        async def exec(self, item: Any) -> Any:
            self.begun.append(item)
            self.tasks.append(asyncio.current_task())
            if item == 1:
                await asked.wait()

    batch = Cancelled(rows(), max_workers=2)
    batch.tasks = []
    with pytest.raises(AwaitedCancelledError):
        await batch.run_async({})
    assert batch.begun == [0, 1, 2]
    assert batch.tasks[2] is batch.tasks[1]


async def test_an_item_that_no_worker_is_left_for_is_cancelled() -> None:
    """It is accounted for, also if other code has cancelled the only worker."""

    async def rows() -> AsyncIterator[int]:
        yield 0
        tasks[0].cancel()
        yield 1

    class Cancelled(Batch):
        async def exec(self, item: Any) -> Any:
            tasks.append(asyncio.current_task())

    tasks: list[Any] = []
    events: list[Any] = []
    with pytest.raises(AwaitedCancelledError):
        await Cancelled(rows(), max_workers=1).run_async({}, observers=[events.append])
    ended = [
        (e.item, getattr(e, "status", "ok"))
        for e in events if isinstance(e, ItemFinished | ItemFailed)
    ]  # fmt: skip
    assert ended == [(0, "ok"), (1, "cancelled")]


def test_a_run_may_be_drained_while_its_loop_stands_still() -> None:
    """Between two calls that run the loop: the source that waits for an item is closed then."""

    async def launched() -> Any:
        return batch.launch({})

    async def ended() -> None:
        await run

    rows = Rows(float("inf"))
    batch = Batch(rows, max_workers=2)
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        run = runner.run(launched())
        runner.run(asyncio.sleep(5.5))
        pulled = rows.pulled
        run.drain()
        runner.run(ended())
    assert (rows.closed, rows.pulled) == (True, pulled)
    assert len(batch.begun) == pulled


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_run_knows_when_it_waits_for_an_item(workers: int) -> None:
    """A recorded run that waits for an answer stays as long as it does."""
    found: list[list[object]] = []

    class Reads(ParallelBatchNode[Any, Any]):
        async def prep(self, shared: Any) -> AsyncIterator[int]:
            run, asked = FRAME.get().run, asyncio.Event()

            def look() -> None:
                found.append([is_reading() for is_reading in run.sources.values()])
                asked.set()

            asyncio.get_running_loop().call_soon(look)
            await asked.wait()
            yield 1

        async def exec(self, item: int) -> int:
            return item

    await Graph(Reads(max_workers=workers)).run_async({})
    assert found == [[True]]
