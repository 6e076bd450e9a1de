"""Draining with a grace: what is not done by then is cancelled, and what is done is handed over."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    DeadlineExceededError,
    Graph,
    ItemFailed,
    MapReduceNode,
    Pipeline,
    RunReport,
    all_of,
    first_of,
    settle,
)
from kaygraph.testing import assert_accounted
from kaygraph.testing.capture import runs_begun
from tests.clock import VIRTUAL
from tests.run.draining import Batch, Kept, Source, Step, drained, now
from tests.stages import Read, Stage

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def tidily(note: Callable[[], None] = lambda: None) -> None:
    """Take 100 seconds, and 5 more to tidy up however that ends."""
    try:
        await asyncio.sleep(100)
    finally:
        await asyncio.sleep(5)
        note()


# --- what is handed over ---


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("workers", [1, 3])
async def test_a_batch_hands_over_what_is_done_by_then(workers: int, ordered: bool) -> None:
    """In order, without the items that were cancelled; the run returns."""
    shared: dict[str, Any] = {}
    batch = Batch(
        Source().of("iterator"), lambda item: 100 if item == 7 else 1, max_workers=workers
    )
    batch.ordered = ordered
    await drained(Graph(batch >> Step([], "never")), 9.5, shared, grace=2)
    assert shared["Batch"] == [item for item in batch.begun if item != 7]
    assert now() == 11.5


async def test_a_grace_that_is_enough_changes_nothing() -> None:
    """Nothing is cancelled, and no timer is left."""
    shared: dict[str, Any] = {}
    await drained(Batch(range(9), max_workers=2), 0.5, shared, grace=60)
    assert shared["Batch"] == [0, 1]
    assert now() == 1
    await asyncio.sleep(600)  # a timer that was left would cancel somebody


async def test_rounds_that_are_done_are_handed_over() -> None:
    """A round is an item: it is cancelled as a whole, its batches hand nothing over."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Iterator[dict[str, int]]:
            return iter([{"number": number} for number in range(9)])

        def post(self, shared: Any, _: Any, actions: Any) -> None:
            shared["rounds"] = actions

    log, shared = list[str](), dict[str, Any]()
    step = Step(log, "step", action="done")
    step - "done" >> Step(log, "after", 1, "done")
    await drained(Rounds(step), 7, shared, grace=1)
    assert shared["rounds"] == ["done"] * 2
    assert log.count("step ended") == log.count("after ended") == 2
    assert now() == 8


async def test_batches_in_parallel_hand_over_what_is_done() -> None:
    """In branches of a graph as well; where only batches were in flight, the run returns."""
    shared: dict[str, Any] = {}
    left = Batch(range(9), lambda item: 100 if item else 1, max_workers=2, name="left")
    right = Batch(range(9), 50, name="right")
    await drained(Graph([left, right] >> Step([], "never")), 2, shared, grace=3)
    assert shared == {"left": [0], "right": []}
    assert now() == 5


async def test_a_branch_whose_batch_was_cut_short_ends_with_the_action_of_its_batch() -> None:
    """The node that it leads to does not begin, as anywhere in a run that is drained."""
    log: list[str] = []

    class Leads(Batch):
        def post(self, shared: Any, prep_res: Any, results: Any) -> str:  # type: ignore[override]
            super().post(shared, prep_res, results)
            return "on"

    branches = [Leads(range(9), name=name) for name in "ab"]
    for branch in branches:
        branch - "on" >> Step(log, f"after {branch.name}")
    shared: dict[str, Any] = {}
    assert await drained(Graph(branches), 2.5, shared, grace=0.25) == "on"
    assert shared == {"a": [0, 1], "b": [0, 1]}
    assert log == []


async def test_a_pipeline_hands_over_what_has_come_through() -> None:
    """Each stage's ``post`` is called, and then its own."""
    shared: dict[str, Any] = {}
    first, last = Stage(1, name="first"), Stage(3, name="last")
    await drained(Kept(Read(range(99)), first, last, buffer=2, name="done"), 8, shared, grace=1)
    assert shared["done"] == last.ended == [0, 1]
    assert shared["posts"] == ["first", "last"]


async def test_results_behind_a_cancelled_item_are_handed_over() -> None:
    """The last stage has done them; they only waited for their order."""
    shared: dict[str, Any] = {}
    last = Stage(lambda item: 100 if item == 0 else 1, max_workers=3, name="last")
    await drained(Kept(Read(range(99)), last, name="done"), 3.5, shared, grace=1)
    assert last.ended == [1, 2, 3, 4, 5, 6, 7, 8]
    assert shared["done"] == last.ended


async def test_a_stage_reports_no_item_as_done_that_was_cancelled() -> None:
    """``ok`` is how many results there are."""
    last = Stage(lambda item: 100 if item == 0 else 1, max_workers=3)
    await drained(Read(range(99)) | last, 3.5, grace=1)
    assert last.report is not None
    assert last.report.ok == len(last.ended)


@pytest.mark.parametrize("reads", [True, False])
async def test_every_item_that_a_pipeline_has_pulled_is_accounted_for(reads: bool) -> None:
    """Those that no worker has taken up as well: events report them as cancelled."""
    source, report = Source(), RunReport()
    stages = [Read(source.of("iterator"))] if reads else []
    work = Batch(source.of("iterator"), 5, max_workers=2, name="work")
    pipeline = Pipeline(*stages, work, Stage(5, name="last"), buffer=4, name="all")
    task = pipeline.launch({}, observers=[report])
    await asyncio.sleep(12)
    task.drain(grace=1)
    await task
    items = report.nodes["all/work"].items
    assert sum(items.values()) == source.pulled
    assert items["ok"] == sum(report.nodes["all/last"].items.values())


@pytest.mark.parametrize("ordered", [True, False])
async def test_what_a_stage_has_in_hand_behind_a_full_buffer_is_accounted_for(
    ordered: bool,
) -> None:
    """What its items have yielded is reported by the next stage; they themselves are cancelled."""

    class Splits(Stage):
        async def exec(self, item: Any) -> AsyncIterator[int]:  # type: ignore[override]
            for number in range(5):
                yielded.append(number)
                yield 10 * item + number

    yielded: list[int] = []
    events: list[Any] = []
    split = Splits(max_workers=2, ordered=ordered, name="split")
    pipeline = Kept(Read(range(4)), split, Stage(3, name="slow"), buffer=1, name="all")
    task = pipeline.launch({}, observers=[events.append])
    await asyncio.sleep(1)
    task.drain(grace=1)
    await task
    ended = [(e.node, e.status) for e in events if isinstance(e, ItemFailed)]
    assert ended.count(("all/split", "cancelled")) == 4
    assert ended.count(("all/slow", "cancelled")) == len(yielded) < 10
    assert len(ended) == 4 + len(yielded)


async def test_an_error_of_a_clean_up_is_not_lost() -> None:
    """What fails because it was cancelled is raised, or stands behind what is raised."""

    class Breaks(Batch):
        async def exec(self, item: int) -> int:
            try:
                await asyncio.sleep(100)
            finally:
                raise OSError("clean-up failed")

    with pytest.raises((OSError, ExceptionGroup, DeadlineExceededError)) as caught:
        await drained(Breaks(range(9), max_workers=2), 1, grace=1)
    assert "clean-up failed" in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_what_fails_together_with_what_was_cut_short_stands_behind_the_error() -> None:
    """The grace was over for both; the error of the first in the meantime is reported."""

    class Breaks(Step):
        async def exec(self, _: Any) -> None:
            try:
                await super().exec(_)
            finally:
                raise OSError("clean-up failed")

    graph = Graph([Step([], "slow", 100), Breaks([], "breaks", 100)])
    with pytest.raises(DeadlineExceededError) as caught:
        await drained(graph, 1, grace=1)
    assert "clean-up failed" in repr(caught.value.__cause__)


# --- what has nothing to hand over ---


@pytest.mark.parametrize("shape", ["step", "graph", "all_of", "first_of", "settle", "next_to"])
async def test_anything_else_raises_that_it_was_cancelled(shape: str) -> None:
    """The error says what to give; no node after it begins, and the clean-up is waited for."""

    class Tidies(Step):
        async def exec(self, _: Any) -> None:
            await tidily(lambda: log.append("tidied"))

    log: list[str] = []
    tidies = Tidies(log, "tidies")
    match shape:
        case "step":
            node: Any = tidies
        case "graph":
            node = Graph(Graph(tidies >> Step(log, "never")) >> Step(log, "never"))
        case "next_to":
            node = Graph([tidies, Batch(range(9))])
        case _:
            group = {"all_of": all_of, "first_of": first_of, "settle": settle}[shape]
            node = Graph(group(tidies, Step(log, "other", 200)) >> Step(log, "never"))
    with pytest.raises(DeadlineExceededError, match=r"not done within grace=2 s"):
        await drained(node, 1, grace=2)
    assert log.count("tidied") == 1
    assert "never began" not in log
    assert now() == 8


async def test_an_item_in_a_wait_is_cancelled_and_accounted_for() -> None:
    """The wait for the next attempt, and the wait for a permit."""

    class Fails(Batch):
        async def exec(self, item: int) -> int:
            if item:
                raise ValueError(item)
            return await super().exec(item)

    async def source() -> AsyncIterator[int]:
        for item in range(9):
            yield item

    events: list[Any] = []
    batch = Fails(source(), 100, max_workers=4, max_retries=3, wait=50)
    with runs_begun() as runs:
        task = Graph(batch, max_workers=1).launch({}, observers=[events.append])
        await asyncio.sleep(10)
        task.drain(grace=10)
        await task
    assert [run.leaks() for run in runs] == [[]]
    assert_accounted(events)
    failed = [event for event in events if isinstance(event, ItemFailed)]
    assert [event.status for event in failed] == ["cancelled"] * 4
    assert now() == 20


# --- the end itself ---


async def test_draining_twice_or_after_the_end_changes_nothing() -> None:
    """A run that is over stays as it is."""
    shared: dict[str, Any] = {}
    task = Batch(count(), max_workers=2).launch(shared)
    await asyncio.sleep(1.5)
    assert not task.draining
    task.drain()
    await asyncio.sleep(0.1)
    task.drain()
    assert await task is None
    assert shared["Batch"] == [0, 1, 2, 3]
    task.drain(grace=5)
    assert task.done()
    assert await task is None
    assert now() == 2


async def test_another_grace_replaces_the_first() -> None:
    """The latest call counts, and None lifts it."""
    task = Step([], "step", 100).launch({})
    task.drain(grace=5)
    await asyncio.sleep(4)
    task.drain(grace=20)
    await asyncio.sleep(10)
    task.drain()
    assert await task == "default"
    assert now() == 100


@pytest.mark.parametrize("workers", [1, 3])
async def test_the_grace_counts_for_a_source_that_tidies_up(workers: int) -> None:
    """What a source does when its wait is ended is in flight as well."""

    async def source() -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(5000)

    shared: dict[str, Any] = {}
    await drained(Batch(source(), max_workers=workers), 10, shared, grace=5)
    assert shared["Batch"] == [1]
    assert now() == 15


async def test_draining_again_while_the_cancelled_tidy_up_keeps_the_error() -> None:
    """It is the error of the grace that has run out."""

    class Tidies(Step):
        async def exec(self, _: Any) -> None:
            await tidily()

    task = Tidies([], "tidies").launch({})
    task.drain(grace=1)
    await asyncio.sleep(2)
    task.drain()
    with pytest.raises(DeadlineExceededError, match=r"grace=1 s"):
        await task


@pytest.mark.parametrize("kind", ["step", "batch"])
async def test_a_cancelled_run_stays_cancelled_when_the_grace_runs_out(kind: str) -> None:
    """Its clean-up is not cut short, and awaiting it raises a CancelledError."""

    class Tidies(Batch):
        async def exec(self, item: int) -> None:
            await tidily(lambda: tidied.append(item))

    tidied: list[int] = []
    node = Tidies(range(9), max_workers=2)
    task = (Graph(all_of(node)) if kind == "step" else node).launch({})
    await asyncio.sleep(1)
    task.drain(grace=2)
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tidied == [0, 1]
    assert now() == 7


async def test_a_run_cancelled_before_it_starts_leaves_nothing() -> None:
    """No coroutine that was never awaited, and no timer."""
    task = Batch(range(3)).launch({})
    task.drain(grace=5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gc.collect()
    timers: Any = asyncio.get_running_loop()
    assert [timer for timer in timers._scheduled if not timer.cancelled()] == []


@pytest.mark.parametrize("grace", [0, -1, True, "soon"])
async def test_a_grace_that_is_not_a_time_is_refused(grace: Any) -> None:
    """And nothing is drained by it."""
    task = Batch(range(3)).launch({})
    with pytest.raises((ValueError, TypeError), match="grace"):
        task.drain(grace=grace)
    assert not task.draining
    await task


async def test_a_run_cancelled_after_its_grace_ends_as_cancelled() -> None:
    """Cancelling while the items clean up raises a CancelledError, not the results."""

    class Tidies(Batch):
        async def exec(self, item: int) -> None:
            await tidily()

    task = Tidies(range(9), max_workers=2).launch({})
    await asyncio.sleep(1)
    task.drain(grace=1)
    await asyncio.sleep(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("at", ["map", "reduce"])
async def test_a_map_reduce_whose_grace_runs_out_hands_over_nothing(at: str) -> None:
    """Half of the values of a key are no result: the run ends at once, and says why."""

    class Count(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return range(4)

        async def map(self, item: int) -> Any:
            await asyncio.sleep(100 if at == "map" else 1)
            return [(item, item)]

        async def reduce(self, _: Any, values: list[int]) -> int:
            await asyncio.sleep(100)
            return sum(values)

        def post(self, *_: Any) -> None:
            raise AssertionError("handed over")

    task = Count(map_workers=4).launch({})
    await asyncio.sleep(2)
    task.drain(grace=3)
    with pytest.raises(DeadlineExceededError, match="grace=3 s"):
        await task
    assert now() == 5
