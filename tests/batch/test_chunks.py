"""Items of ``def`` nodes that are taken several at a time: only the time shows it."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from random import Random
from typing import Any

import pytest

from kaygraph import (
    DeadlineExceededError,
    Drop,
    Graph,
    Outcome,
    ParallelBatchNode,
    TooManyFailuresError,
)
from kaygraph.batch.chunks import GROWTH, Chunks, Size
from kaygraph.batch.source import SyncSource
from kaygraph.executors.chunk import IN_PROCESSES, Chunk
from kaygraph.executors.worker_process import WorkerProcess
from kaygraph.limits.permits import Permits
from kaygraph.limits.slots import Slot
from kaygraph.run.frame import Frame
from kaygraph.run.place import place_of
from kaygraph.run.run import Run
from tests.batch.batches import InProcess

pytestmark = pytest.mark.anyio

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


class Calls(ParallelBatchNode[Any, Any]):
    """Calls what stands in ``calls`` for an item, or returns the item; notes which were run.

    Many items that do nothing come first, so that those behind them are taken up many at a time.
    """

    run_in = "thread"
    warm = 500

    def __init__(self, calls: dict[int, Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.calls, self.made = calls, list[int]()

    def prep(self, shared: Any) -> Any:
        return list(range(self.warm + 50))

    def exec(self, item: int) -> Any:
        self.made.append(item)
        call = self.calls.get(item - self.warm)
        return item if call is None else call()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["results"] = exec_res


async def results_of(node: Calls) -> Any:
    shared: dict[str, Any] = {}
    await node.run_async(shared)
    return shared["results"]


def fails() -> None:
    raise ValueError("on purpose")


@pytest.mark.parametrize("workers", [1, 2, 10])
async def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    """Each item is run once."""
    node = Calls({}, max_workers=workers)
    assert await results_of(node) == list(range(550))
    assert sorted(node.made) == list(range(550))


async def test_no_more_run_at_once_than_there_are_workers() -> None:
    """However many are taken up."""
    at_once, most, lock = 0, 0, threading.Lock()

    class Counts(Calls):
        def exec(self, item: int) -> None:
            nonlocal at_once, most
            with lock:
                at_once += 1
                most = max(most, at_once)
            super().exec(item)
            with lock:
                at_once -= 1

    await results_of(Counts({}, max_workers=3))
    assert most <= 3


async def test_nothing_runs_after_an_error_that_ends_the_batch() -> None:
    """What was taken up with the item that fails has not begun."""
    node = Calls({5: fails}, max_workers=1)
    with pytest.raises(ValueError, match="on purpose") as caught:
        await results_of(node)
    assert node.made == list(range(506))
    assert "in node 'Calls', item 505 (505)" in caught.value.__notes__


async def test_an_item_that_fails_is_tried_again_as_often_as_was_asked_for() -> None:
    """The call that was made ahead is its first attempt; the others go on."""
    node = Calls({5: fails, 7: fails}, max_workers=1, max_retries=3, on_error="collect")
    results = await results_of(node)
    assert [node.made.count(item) for item in (504, 505, 506, 507, 508)] == [1, 3, 1, 3, 1]
    failed = [result for result in results if isinstance(result, Outcome)]
    assert [(one.index, one.attempts, str(one.error)) for one in failed] == [
        (505, 3, "on purpose"),
        (507, 3, "on purpose"),
    ]


async def test_one_worker_tries_an_item_again_before_it_takes_the_next() -> None:
    """So those behind one whose last attempt has failed do not begin."""
    node = Calls({5: fails}, max_workers=1, max_retries=3)
    with pytest.raises(ValueError, match="on purpose"):
        await results_of(node)
    assert node.made == [*range(505), 505, 505, 505]


async def test_an_item_that_waits_for_its_next_attempt_does_not_hold_up_the_others() -> None:
    """They ran with it, and are reported in the meantime."""
    ended = threading.Event()
    node = Calls(
        {5: fails, 49: ended.set},
        max_workers=2, max_retries=2, wait=0.01, on_error="skip",
    )  # fmt: skip
    results = await results_of(node)
    assert ended.is_set()
    assert results == [item for item in range(550) if item not in (505, 549)] + [None]


async def test_outcomes_have_the_seconds_of_their_own_item() -> None:
    """And not those of what was run with it."""

    def takes_long() -> None:
        threading.Event().wait(0.05)
        fails()

    node = Calls({5: takes_long, 6: fails}, max_workers=1, on_error="collect")
    by_index = {one.index: one for one in await results_of(node) if isinstance(one, Outcome)}
    assert by_index[505].seconds >= 0.05 > by_index[506].seconds


async def test_a_cancelled_batch_waits_for_the_item_that_runs_and_begins_no_other() -> None:
    """A thread cannot be stopped in the middle of an item, but between two."""
    begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def holds() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert may_end.wait(30)

    node = Calls({5: holds}, max_workers=1)
    task = asyncio.create_task(results_of(node))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert node.made == list(range(506))


async def test_a_drained_batch_begins_no_item_that_it_has_taken_up() -> None:
    """The results are those of the items that had begun."""

    def drain() -> None:
        asyncio.run_coroutine_threadsafe(drained(), loop).result(30)

    async def drained() -> None:
        run.drain()

    loop = asyncio.get_running_loop()
    node, shared = Calls({5: drain}, max_workers=1), dict[str, Any]()
    run = Graph(node).launch(shared)
    await run
    assert node.made == list(range(506))
    assert shared["results"] == [*range(505), None]


async def test_a_deadline_names_the_item_that_was_run() -> None:
    """Also where the item has been taken up together with others."""
    late, loop = threading.Event(), asyncio.get_running_loop()
    node = Calls({5: lambda: late.wait(30)}, max_workers=1)
    loop.call_later(0.5, late.set)
    with pytest.raises(DeadlineExceededError) as raised:
        await node.run_async(deadline=0.2)
    items = [note for note in raised.value.__notes__ if "item" in note]
    assert items == [f"it was in node 'Calls', item {node.made[-1]}"]


async def test_each_item_has_a_context_of_its_own() -> None:
    """What one sets, the next one does not see."""

    def sets() -> str:
        VARIABLE.set("set")
        return VARIABLE.get()

    VARIABLE.set("around")
    results = await results_of(Calls({5: sets, 6: VARIABLE.get}, max_workers=1))
    assert results[505:507] == ["set", "around"]


async def test_each_item_knows_its_place() -> None:
    """As what it logs says it."""
    node = Calls({}, max_workers=1)
    node.calls.update({5: lambda: place_of(node)["item"], 6: lambda: place_of(node)["item"]})
    assert (await results_of(node))[505:507] == [505, 506]


async def test_items_that_wait_for_each_other_run_at_once() -> None:
    """A worker that finds no more items takes over those that stand behind another's."""
    barrier = threading.Barrier(4)
    meet = {number: lambda: barrier.wait(30) for number in range(46, 50)}
    results = await results_of(Calls(meet, max_workers=4))
    assert sorted(results[-4:]) == [0, 1, 2, 3]


async def test_a_generator_is_asked_for_an_item_when_a_worker_is_free_for_it() -> None:
    """It may look at what the items before have done."""

    class Follows(Calls):
        def prep(self, shared: Any) -> Iterator[int]:
            for number in range(300):
                assert self.made == list(range(number))
                yield number

    assert await results_of(Follows({}, max_workers=1)) == list(range(300))


async def test_a_list_may_grow_while_its_items_are_worked_on() -> None:
    """It ends where it ends when there is a worker for its next item."""
    items = list(range(100))

    class Grows(Calls):
        def prep(self, shared: Any) -> list[int]:
            return items

        def exec(self, item: int) -> int:
            if item == 99:
                items.append(100)
            return item

    assert await results_of(Grows({}, max_workers=1)) == list(range(101))


async def test_an_exec_that_returns_a_coroutine_is_refused() -> None:
    """As it is where each item is handed over by itself."""

    async def later() -> None: ...

    node = Calls({5: later}, max_workers=1, on_error="collect")
    (outcome,) = [one for one in await results_of(node) if isinstance(one, Outcome)]
    assert "write it 'async def'" in str(outcome.error)


def test_chunks_grow_while_items_are_short() -> None:
    """By a factor, up to what takes as long as it should, or to the most there may be."""
    size = Size(1.0, 100)
    sizes = [size.now]
    for _ in range(4):
        size.note(size.now, 0.001 * size.now)
        sizes.append(size.now)
    assert sizes == [1, GROWTH, GROWTH**2, 100, 100]


def test_chunks_are_short_again_when_items_are_long() -> None:
    """An item that takes as long as a whole chunk should is handed over by itself."""
    size = Size(1.0, 1000)
    for _ in range(5):
        size.note(size.now, 0.0)
    assert size.now == 1000
    size.note(1, 10.0)
    assert size.now == 1


def test_workers_share_what_is_left() -> None:
    """The last chunks are shorter, so that all workers have something to do; not arbitrarily so."""
    size = Size(1.0, 100, workers=4)
    for _ in range(4):
        size.note(size.now, 0.001 * size.now)
    assert [size.of(left) for left in (1000, 400, 200, 41, 4)] == [100, 100, 50, 11, 10]
    assert Size(1.0, 100, workers=4, fixed=7).of(3) == 7


def test_chunks_of_a_fixed_size_do_not_grow() -> None:
    """However short the items are."""
    size = Size(1.0, 100, fixed=7)
    size.note(7, 0.0)
    assert size.now == 7


@pytest.mark.skipif(not IN_PROCESSES, reason="items go one by one on Windows")
@pytest.mark.parametrize("kind", [list, lambda items: (item for item in items)])
async def test_a_process_gets_as_many_items_as_was_said(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a list, and of an iterator whose length nobody knows."""
    run, sizes = WorkerProcess.run, list[int]()

    def noted(self: WorkerProcess, chunk: Chunk, *args: Any) -> None:
        sizes.append(len(chunk.entries))
        run(self, chunk, *args)

    monkeypatch.setattr(WorkerProcess, "run", noted)
    shared: dict[str, Any] = {"items": kind(range(25))}
    await InProcess(max_workers=1, chunksize=10).run_async(shared)
    assert shared["results"] == list(range(0, 50, 2))
    assert sizes == [10, 10, 5]


async def test_failures_behind_the_last_that_is_tolerated_are_dropped() -> None:
    """They were run in one chunk with it; nobody observes them."""
    node = Calls({5: fails, 6: fails, 7: fails}, max_workers=1, on_error=1)
    with pytest.raises(TooManyFailuresError, match="2 of") as raised:
        await results_of(node)
    assert len(raised.value.exceptions) == 2
    assert 507 in node.made


async def test_an_item_that_its_thread_takes_at_the_last_moment_is_left_to_it() -> None:
    """A worker that looks for items of others goes on to the next chunk that has some."""

    class Taken(deque[Any]):
        def __bool__(self) -> bool:
            return True  # as it was a moment ago

    async def run(chunk: Chunk, slot: Slot) -> None:
        if chunk.at == 0:
            chunk.entries = Taken()
        elif chunk.at == 2:
            chunk.entries.popleft()
        else:
            chunk.ended("taken over", None, 0.0)
            return
        await asyncio.sleep(60)

    def new_slot() -> Slot:
        return Slot((Permits(1),))

    source, size = SyncSource(range(4), True), Size(1.0, 100, fixed=2)
    chunks = Chunks(Calls({}), Frame(Run()), source, run, size, True, shares=True)
    tasks = [asyncio.create_task(chunks.next(new_slot())) for _ in range(2)]
    await asyncio.sleep(0)
    slot = new_slot()
    assert await chunks.next(slot) == (3, 3)
    assert slot.ready is not None
    assert slot.ready.result() == "taken over"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


# --- at random ---


class Varied(ParallelBatchNode[Any, Any]):
    """Each item says how often it fails before it succeeds; None: it is dropped."""

    run_in = "thread"

    def prep(self, shared: Any) -> Any:
        shared["calls"] = self.calls = [0] * len(shared["items"])
        return list(enumerate(shared["items"]))

    def exec(self, item: tuple[int, int | None]) -> int:
        index, failures = item
        self.calls[index] += 1
        if failures is None:
            raise Drop("not wanted")
        if self.calls[index] <= failures:
            raise ValueError(index)
        return index

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["results"] = exec_res


@pytest.mark.parametrize("seed", range(40))
async def test_every_item_has_its_attempts_and_one_end(seed: int) -> None:
    """Against what each item must come to by itself."""
    random = Random(seed)
    rare = random.choice([0.5, 0.98])  # chunks are long where failures are rare
    items = [0 if random.random() < rare else random.choice([1, 2, 5, None]) for _ in range(400)]
    attempts = random.randint(1, 3)
    on_error: Any = random.choice(["collect", "skip", 400])
    ordered = random.random() < 0.7
    node = Varied(
        max_retries=attempts, on_error=on_error, ordered=ordered, max_workers=random.randint(1, 6)
    )
    shared: dict[str, Any] = {"items": items}
    await node.run_async(shared)
    expected, calls = [], []
    for index, failures in enumerate(items):
        calls.append(1 if failures is None else min(failures + 1, attempts))
        if failures is not None and failures < attempts:
            expected.append(index)
        elif failures is not None and on_error != "skip":
            expected.append(-index)
    results = [
        -one.index if isinstance(one, Outcome) and one.attempts == attempts else one
        for one in shared["results"]
    ]
    assert (results if ordered else sorted(results)) == (expected if ordered else sorted(expected))
    assert shared["calls"] == calls
