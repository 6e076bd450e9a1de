"""Many items, at most so many at once: lazily pulled, fair, flat in memory."""

import asyncio
import gc
import io
import tracemalloc
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    Graph,
    ParallelBatchNode,
)
from tests.clock import VIRTUAL
from tests.turns import looking

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


# --- lazy pulling ---


class Endless(ParallelBatchNode[Any, Any]):
    """A source without an end; notes how far it was pulled and whether it was closed."""

    def __init__(self, kind: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.kind = kind
        self.pulled = self.running = 0
        self.closed = False

    def prep(self, _: Any) -> Any:
        return self.counted() if self.kind == "sync" else self.awaited()

    def counted(self) -> Iterator[int]:
        try:
            while True:
                self.pulled += 1
                yield self.pulled
        finally:
            self.closed = True

    async def awaited(self) -> AsyncIterator[int]:
        try:
            while True:
                self.pulled += 1
                yield self.pulled
        finally:
            await asyncio.sleep(0)
            self.closed = True

    async def exec(self, item: int) -> int:
        self.running += 1
        try:
            await asyncio.sleep(1)
        finally:
            self.running -= 1
        if item == 100:
            raise ValueError(item)
        return item


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_endless_source_is_legal_with_a_consumer(kind: str) -> None:
    """stream() over a source without end gives outcomes until the reader leaves."""
    node, got = Endless(kind, max_workers=3), list[Any]()
    async with aclosing(node.stream()) as outcomes:
        async for outcome in outcomes:
            got.append(outcome.value)
            if len(got) == 50:
                break
    assert sorted(got)[:40] == list(range(1, 41))
    assert node.closed
    assert node.running == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_no_more_items_are_pulled_than_there_are_workers(kind: str) -> None:
    """While items run, exactly max_workers have been pulled beyond those done."""

    class Watched(Endless):
        async def exec(self, item: int) -> int:
            result = await super().exec(item)
            done.append(item)
            ahead.append(self.pulled - len(done))
            return result

    done, ahead = list[int](), list[int]()
    node = Watched(kind, max_workers=3)
    with pytest.raises(ValueError, match="100"):
        await node.run_async({})
    assert 2 <= max(ahead) <= 3


async def test_a_reader_that_falls_behind_stops_the_pulling() -> None:
    """At most max_workers outcomes wait for the reader, and one more with each worker."""
    node = Endless("sync", max_workers=3)
    async with aclosing(node.stream()) as outcomes:
        await anext(outcomes)
        await asyncio.sleep(1000)
        assert 1 + 3 <= node.pulled <= 1 + 3 + 3
        assert node.running == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_generator_is_closed_after_a_failure(kind: str) -> None:
    """When an item fails, the source's finally has run before the error is raised."""
    node = Endless(kind, max_workers=4)
    with pytest.raises(ValueError, match="100"):
        await node.run_async({})
    assert node.closed
    assert node.running == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_generator_is_closed_after_a_cancellation(kind: str) -> None:
    """When the run is cancelled, the source's finally has run before it ends."""
    node = Endless(kind, max_workers=4)
    task = asyncio.create_task(node.run_async({}))
    await asyncio.sleep(5.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert node.closed
    assert node.running == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_source_that_fails_ends_the_run_with_its_error(kind: str) -> None:
    """An error of the source is not an item's: it is raised whatever on_error says."""

    class Broken(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> Any:
            return counted() if kind == "sync" else awaited()

        async def exec(self, item: int) -> int:
            try:
                await asyncio.sleep(1)
            finally:
                ended.append(item)
            return item

    def counted() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the source broke")

    async def awaited() -> AsyncIterator[int]:
        for item in counted():
            yield item

    ended: list[int] = []
    with pytest.raises(OSError, match="the source broke"):
        await Broken(max_workers=3, on_error="collect").run_async({})
    assert sorted(ended) in ([1, 2], [])  # begun or not, none is left running


class Raising:
    """An iterator that raises whenever it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __iter__(self) -> "Raising":
        return self

    def __next__(self) -> int:
        self.asked += 1
        raise OSError(f"the source broke {self.asked}")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (Raising, OSError),
        (lambda: map(int, ["a", "b", "c"]), ValueError),
        (lambda: (int(word) for word in "abc"), ValueError),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "collect"])
async def test_a_source_that_would_fail_again_and_again_is_asked_once(
    source: Any, error: type[Exception], on_error: str
) -> None:
    """Workers that begin at once do not each raise an error of it."""

    class Broken(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> Any:
            return items

        async def exec(self, item: int) -> int:
            return item

    items = source()
    with pytest.raises(error) as caught:
        await Broken(on_error=on_error).run_async({})
    assert caught.value.__notes__ == ["in node 'Broken'"]
    assert getattr(items, "asked", 1) == 1


async def test_a_source_that_is_not_read_to_its_end_is_not_closed_if_it_is_not_a_generator() -> (
    None
):
    """A file belongs to the code that opened it."""

    class Stops(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> Any:
            return file

        async def exec(self, line: str) -> int:
            return int(line)

    with io.StringIO("1\nno\n" + "2\n" * 20) as file:
        with pytest.raises(ValueError, match="no"):
            await Stops(max_workers=2).run_async({})
        assert not file.closed


async def test_a_slow_async_source_holds_no_permit() -> None:
    """While a batch waits for its source, another batch under the same cap works."""

    class Slow(ParallelBatchNode[Any, Any]):
        async def prep(self, _: Any) -> Any:
            return self.items()

        async def items(self) -> AsyncIterator[int]:
            yield 0
            await asyncio.sleep(100)
            yield 1

        async def exec(self, item: int) -> int:
            return item

    class Quick(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(5)

        async def exec(self, item: int) -> int:
            await asyncio.sleep(1)
            times.append(asyncio.get_running_loop().time())
            return item

    times: list[float] = []
    await Graph([Slow(), Quick()], max_workers=1).run_async({})
    assert times == pytest.approx([1, 2, 3, 4, 5])


# --- memory and fairness ---


async def test_memory_grows_with_the_workers_and_not_with_the_items() -> None:
    """Of twenty thousand items, never more than the workers' are alive at once."""

    class Item:
        pass

    class Count(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> Iterator[Item]:
            for _index in range(20_000):
                item = Item()
                alive.add(item)
                yield item

        async def exec(self, _: Item) -> None:
            nonlocal most
            most = max(most, len(alive))
            await asyncio.sleep(0)

    alive: weakref.WeakSet[Item] = weakref.WeakSet()
    most = 0
    gc.disable()
    try:
        await Count(max_workers=7).run_async({})
    finally:
        gc.enable()
    assert most <= 9  # one a worker, one in the generator, one on its way


async def test_a_stream_over_many_items_stays_flat() -> None:
    """The memory taken after 20,000 items is that taken after 2,000."""

    class Count(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(20_000)

        async def exec(self, item: int) -> bytes:
            return bytes(100)

    taken = []
    tracemalloc.start()
    try:
        async with aclosing(Count(max_workers=7).stream()) as outcomes:
            async for outcome in outcomes:
                if outcome.index in (2_000, 19_000):
                    taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    early, late = taken
    assert late - early < 50_000  # bytes; kept, the outcomes would be 17,000 * 200


@pytest.mark.parametrize("workers", [1, 10, 3000])
@pytest.mark.parametrize("watched", [False, True])
async def test_another_task_gets_its_turn_while_no_op_items_run(
    workers: int, watched: bool
) -> None:
    """Items that never suspend do not keep the loop from anybody else."""

    class NoOp(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(60_000)

        async def exec(self, item: int) -> None:
            nonlocal ran
            ran += 1

    ran = 0
    observers = [lambda event: None] if watched else []
    async with looking(lambda: ran) as seen:
        await NoOp(max_workers=workers).run_async({}, observers=observers)
    assert ran == 60_000
    gaps = [later - earlier for earlier, later in pairwise(seen)]
    assert max(gaps) <= max(2048, 8 * workers), max(gaps)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_only_worker_of_a_launched_run_gives_others_their_turn() -> None:
    """It works in the run's own task, and not in one of a pool."""

    class NoOp(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(20_000)

        async def exec(self, item: int) -> None:
            nonlocal ran
            ran += 1

    ran = 0
    async with looking(lambda: ran) as seen:
        await NoOp(max_workers=1).launch({})
    assert ran == 20_000
    assert max(later - earlier for earlier, later in pairwise(seen)) <= 2048


async def test_an_item_that_waits_for_a_permit_when_the_grace_ends_has_not_run() -> None:
    """It was read from a slow source, while another round of the node has taken the permit."""
    begun: list[tuple[int, int]] = []

    class Slow(ParallelBatchNode[Any, Any]):
        async def prep(self, shared: Any) -> AsyncIterator[int]:
            for item in range(2):
                await asyncio.sleep(self.params["pause"])
                yield item

        async def exec(self, item: int) -> int:
            begun.append((self.params["pause"], item))
            await asyncio.sleep(4)
            return item

    class Rounds(BatchGraph):
        def prep(self, shared: Any) -> Any:
            return [{"pause": 1}, {"pause": 2}]

    run = Rounds(Slow(max_workers=1), max_workers=2).launch({})
    await asyncio.sleep(3)
    run.drain(grace=1)
    await run
    assert begun == [(1, 0)]
    assert asyncio.get_running_loop().time() == 4


async def test_a_worker_that_suppressed_its_cancellation_takes_no_further_item() -> None:
    """User code may hold a cancellation up for its own item, and not for all that follow."""

    class Stubborn(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> Iterator[int]:
            yield from range(1000)

        async def exec(self, item: int) -> None:
            begun.append(item)
            try:
                await asyncio.sleep(1 if item == 0 else 5)
            except asyncio.CancelledError:
                return  # it was asked to stop, and reports success
            raise ValueError(item)

    begun: list[int] = []
    with pytest.raises(ValueError, match="0"):
        await Stubborn(max_workers=3).run_async({})
    assert begun == [0, 1, 2]


async def test_a_cancelled_run_whose_exec_suppresses_it_still_ends_as_cancelled() -> None:
    """The run is cancelled while exec swallows the cancellation: the run ends as cancelled."""

    class Stubborn(ParallelBatchNode[Any, Any]):
        def prep(self, _: Any) -> Iterator[int]:
            yield from range(1000)

        async def exec(self, item: int) -> None:
            begun.append(item)
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                await asyncio.sleep(3)

    for workers in (1, 3):
        begun: list[int] = []
        task = asyncio.create_task(Stubborn(max_workers=workers).run_async({}))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), workers
        assert begun == list(range(workers))
