"""Pipelines: stages that overlap, bounded buffers, order, and what each stage reports."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import (
    Drop,
    Graph,
    Outcome,
    ParallelBatchNode,
    Pipeline,
    StageFinished,
    StageStarted,
    TooManyFailuresError,
)
from kaygraph.types import StageReport
from tests.clock import VIRTUAL, run_virtually
from tests.stages import Picky, Read, Stage, results_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def test_stages_overlap() -> None:
    """A stage works on the first items while the one before works on the later ones."""

    class First(Stage):
        async def exec(self, item: int) -> int:
            if item == 2:
                await second_began.wait()  # would wait for ever if b waited for the end of a
            return item

    class Second(Stage):
        async def exec(self, item: int) -> int:
            second_began.set()
            return item * 10

    second_began = asyncio.Event()
    assert await results_of(Read([1, 2, 3]) | First() | Second()) == [10, 20, 30]


async def test_the_time_of_a_pipeline_is_that_of_its_slowest_stage() -> None:
    """Three stages of a second each take n + 2 seconds for n items, not 3 n."""
    await results_of(Read(range(10)) | Stage(1) | Stage(1) | Stage(1))
    assert asyncio.get_running_loop().time() == pytest.approx(12)


@pytest.mark.parametrize("buffer", [1, 2, 5])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_endless_source_runs_in_bounded_memory(buffer: int, kind: str) -> None:
    """While the last stage is stuck, each buffer is full and nothing more is pulled."""

    class Stuck(Stage):
        async def exec(self, item: int) -> int:
            await stuck.wait()
            return item

    def source() -> Iterator[int]:
        nonlocal pulled
        for number in count():
            pulled += 1
            yield number

    async def slow_source() -> AsyncIterator[int]:
        for number in source():
            await asyncio.sleep(1)
            yield number

    pulled, stuck = 0, asyncio.Event()
    middle = Stage()
    items: Any = source() if kind == "sync" else slow_source()
    task = asyncio.create_task(Pipeline(Read(items), middle, Stuck(), buffer=buffer).run_async({}))
    await asyncio.sleep(10_000)
    # One item is stuck, and the buffer before it is full: its stage takes up no other.
    assert len(middle.ended) == 1 + buffer
    assert len(middle.ended) + buffer <= pulled <= len(middle.ended) + buffer + 1
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 25),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(),
)
def test_order_is_kept_through_every_stage(
    items: int, workers: list[int], buffer: int, seed: int
) -> None:
    """Several workers at random speeds give the results in the order of the input."""

    async def play() -> None:
        delays = random.Random(seed)
        stages = [
            Stage(lambda _: delays.choice([0, 0, 1, 5]), max_workers=number, name=f"s{place}")
            for place, number in enumerate(workers)
        ]
        pipeline = Pipeline(Read(range(items)), *stages, buffer=buffer)
        assert await results_of(pipeline) == list(range(items))
        for stage in stages:
            assert stage.report is not None
            assert (stage.report.items, stage.report.ok) == (items, items)

    run_virtually(play())


async def test_unordered_results_come_as_they_finish() -> None:
    """ordered=False has to be asked for."""
    stage = Stage(lambda item: 5 - item, max_workers=5, ordered=False)
    assert await results_of(Read(range(5)) | stage) == [4, 3, 2, 1, 0]


async def test_the_reorder_window_is_bounded() -> None:
    """One slow item holds up the order: the others go on for a buffer, and then wait."""
    slow = Stage(lambda item: 1000 if item == 0 else 1, max_workers=3)
    task = asyncio.create_task(Pipeline(Read(count()), slow, Stage(), buffer=4).run_async({}))
    await asyncio.sleep(500)
    assert slow.begun == list(range(4))
    task.cancel()
    await asyncio.wait([task])


async def test_an_exec_that_yields_gives_several_results() -> None:
    """None, one or many for an item, sync or async, in order."""

    class Words(Stage):
        def exec(self, line: str) -> Iterator[str]:
            yield from line.split()

    class Letters(Stage):
        async def exec(self, word: str) -> AsyncIterator[str]:
            for letter in word:
                await asyncio.sleep(1)
                yield letter

    lines = ["ab c", "", "def"]
    words = Words(max_workers=3, run_in="loop")
    assert await results_of(Read(lines) | words) == ["ab", "c", "def"]
    letters = Letters(max_workers=2)
    assert await results_of(Read(lines) | words | letters) == list("abcdef")


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_dropped_item_goes_no_further(workers: int) -> None:
    """Drop leaves it out, and it is counted as skipped."""

    class Odd(Stage):
        async def exec(self, item: int) -> int:
            if item % 2 == 0:
                raise Drop
            return item

    odd, after = Odd(max_workers=workers), Stage()
    assert await results_of(Read(range(7)) | odd | after) == [1, 3, 5]
    assert odd.report is not None
    assert (odd.report.items, odd.report.ok, odd.report.skipped) == (7, 3, 4)
    assert after.begun == [1, 3, 5]


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_collected_failure_passes_the_later_stages_by(workers: int) -> None:
    """An Outcome stands in its place among the results; later stages do not see it."""
    picky, after = Picky(max_workers=workers, on_error="collect"), Stage(max_workers=workers)
    results = await results_of(Read(range(6)) | picky | after)
    shown = [(r.index, r.status, r.item) if isinstance(r, Outcome) else r for r in results]
    assert shown == [(0, "failed", 0), 10, 20, (3, "failed", 3), 40, 50]
    assert sorted(after.begun) == [10, 20, 40, 50]
    assert picky.report is not None
    assert (picky.report.items, picky.report.ok, picky.report.failed) == (6, 4, 2)
    assert after.report is not None
    assert (after.report.items, after.report.ok, after.report.failed) == (4, 4, 0)


async def test_skipped_failures_are_left_out() -> None:
    """on_error="skip" works as on any node."""
    picky = Picky(on_error="skip")
    assert await results_of(Read(range(6)) | picky | Stage()) == [10, 20, 40, 50]
    assert picky.report is not None
    assert (picky.report.ok, picky.report.skipped) == (4, 2)


async def test_retries_work_inside_a_stage() -> None:
    """Attempts count per item."""

    class Flaky(Stage):
        async def exec(self, item: int) -> int:
            tries.append((item, self.attempt))
            if self.attempt <= item:
                raise ValueError(item)
            return item

    tries: list[tuple[int, int]] = []
    flaky = Flaky(max_workers=3, max_retries=3, wait=1)
    assert await results_of(Read(range(3)) | flaky) == [0, 1, 2]
    assert sorted(tries) == [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]


async def test_a_failure_cancels_all_stages_and_names_its_own() -> None:
    """The error is raised with stage and item, the source is closed, nothing runs on."""

    class Late(Stage):
        async def exec(self, item: int) -> int:
            try:
                return await super().exec(item)
            finally:
                finished.append(item)

    def source() -> Iterator[int]:
        nonlocal closed
        try:
            yield from count(1)
        finally:
            closed = True

    closed, finished = False, list[int]()
    picky, late, shared = Picky(name="Check"), Late(1000), dict[str, Any]()
    tasks = asyncio.all_tasks()
    with pytest.raises(ValueError, match="3") as caught:
        await Graph(Pipeline(Read(source()), picky, late, name="Flow")).run_async(shared)
    assert caught.value.__notes__ == ["in node 'Flow/Check', item 2 (3)"]
    assert closed
    assert late.begun == [10]
    assert finished == [10]
    assert shared == {}  # no post of a stage was called
    assert asyncio.all_tasks() == tasks


async def test_the_posts_of_the_stages_are_called_once_in_order() -> None:
    """When the stream has ended, each with its report; the last one's holds the results."""
    first, second, shared = Stage(name="first"), Stage(name="second"), dict[str, Any]()
    await (Read([3, 4]) | first | second).run_async(shared)
    assert shared["posts"] == ["first", "second"]
    assert first.report is not None
    assert second.report is not None
    assert (first.report.name, second.report.name) == ("Pipeline/first", "Pipeline/second")
    assert (first.report.results, second.report.results) == (None, [3, 4])


async def test_the_figures_of_every_stage_add_up() -> None:
    """Busy, starved and blocked are each stage's whole time, summed over its workers."""
    slow, wide = Stage(3, name="slow"), Stage(4, max_workers=2, name="wide")
    last, events = Stage(1, name="last"), list[Any]()
    pipeline = Pipeline(Read(range(10)), slow, wide, last, buffer=2)
    await pipeline.run_async({}, observers=[events.append])
    wall = asyncio.get_running_loop().time()
    assert wall == pytest.approx(30 + 4 + 1)
    for stage, workers, busy in ((slow, 1, 30), (wide, 2, 40), (last, 1, 10)):
        report = stage.report
        assert report is not None
        assert (report.workers, report.items, report.ok) == (workers, 10, 10)
        assert report.busy_s == pytest.approx(busy)
        assert report.blocked_s == pytest.approx(0)
        assert report.starved_s <= workers * wall - busy
        finished = next(
            e for e in events if isinstance(e, StageFinished) and e.node.endswith(stage.name)
        )
        assert (finished.workers, finished.items) == (workers, 10)
        assert (finished.busy_s, finished.starved_s) == (report.busy_s, report.starved_s)
    assert last.report is not None
    assert last.report.starved_s == pytest.approx(wall - 10)
    started = [e.node for e in events if isinstance(e, StageStarted)]
    assert [name.split("/")[-1] for name in started] == ["Read", "slow", "wide", "last"]


async def test_a_stage_before_a_slow_one_is_blocked_and_not_busy() -> None:
    """Waiting for room behind is no work."""
    quick, slow = Stage(1), Stage(10)
    await Pipeline(Read(range(10)), quick, slow, buffer=1).run_async({})
    assert quick.report is not None
    assert slow.report is not None
    assert quick.report.busy_s == pytest.approx(10)
    assert quick.report.blocked_s > 50
    assert slow.report.busy_s == pytest.approx(100)
    assert slow.report.starved_s == pytest.approx(1)


class Fated(ParallelBatchNode[Any, Any]):
    """Does with each item what its fate says; keeps its report."""

    def __init__(self, fates: list[str], **settings: Any) -> None:
        super().__init__(**settings)
        self.fates = fates
        self.report: StageReport | None = None

    async def exec(self, item: int) -> Any:
        fate = self.fates[item]
        await asyncio.sleep(len(fate) % 4)
        if fate == "fail":
            raise ValueError(item)
        if fate == "drop":
            raise Drop
        return item

    def post(self, _: Any, __: Any, report: Any) -> None:
        self.report = report


FATES = st.sampled_from(["ok", "okay!", "fail", "drop"])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(FATES, FATES), max_size=15),
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["collect", "skip"])), min_size=2).map(
        lambda stages: stages[:2]
    ),
    st.integers(1, 3),
    st.booleans(),
)
def test_every_item_of_every_stage_is_accounted_for(
    fates: list[tuple[str, str]], stages: list[tuple[int, str]], buffer: int, ordered: bool
) -> None:
    """items = ok + failed + skipped in each stage, and the results are a serial oracle's."""
    nodes = [
        Fated([pair[place] for pair in fates], max_workers=w, on_error=e, ordered=ordered)
        for place, (w, e) in enumerate(stages)
    ]
    expected: list[Any] = list(range(len(fates)))
    counts = []
    for node in nodes:
        items = [item for item in expected if isinstance(item, int)]
        ok = [item for item in items if node.fates[item].startswith("ok")]
        bad = [item for item in items if node.fates[item] == "fail" and node.on_error == "collect"]
        counts.append((len(items), len(ok), len(bad), len(items) - len(ok) - len(bad)))
        passed = {*ok, *(i for i in expected if not isinstance(i, int))}
        expected = [
            ("failed", item) if item in bad else item
            for item in expected
            if item in passed or item in bad
        ]
    results = run_virtually(results_of(Pipeline(Read(range(len(fates))), *nodes, buffer=buffer)))
    got = [(r.status, r.item) if isinstance(r, Outcome) else r for r in results]
    assert got == expected if ordered else sorted(map(str, got)) == sorted(map(str, expected))
    for node, figures in zip(nodes, counts, strict=True):
        report = node.report
        assert report is not None
        assert (report.items, report.ok, report.failed, report.skipped) == figures


async def test_a_stage_past_its_failures_keeps_every_error() -> None:
    """Workers that fail at the same time are all in the one error that ends the pipeline."""

    class Fails(ParallelBatchNode[Any, Any]):
        async def exec(self, item: int) -> int:
            await together.wait()
            raise ValueError(item)

        def prep(self, shared: Any) -> Any:
            return ()

    together = asyncio.Event()
    asyncio.get_running_loop().call_later(1, together.set)
    with pytest.raises(TooManyFailuresError) as caught:
        await Pipeline(Read(range(3)), Fails(max_workers=3, on_error=1)).run_async({})
    assert sorted(error.args[0] for error in caught.value.exceptions) == [0, 1, 2]


async def test_a_stream_that_fails_shows_no_result_from_behind_the_gap() -> None:
    """What waited for its order behind the item that failed is not handed out before the error."""

    class Fails(ParallelBatchNode[Any, Any]):
        async def exec(self, item: int) -> int:
            await asyncio.sleep(10 if item == 1 else 1)
            if item == 1:
                raise ValueError(item)
            return item

    async def read() -> None:
        async for result in (Read(range(1000)) | Fails(max_workers=3)).stream():
            results.append(result)

    results: list[int] = []
    with pytest.raises(ValueError, match="1"):
        await read()
    assert results == [0]
