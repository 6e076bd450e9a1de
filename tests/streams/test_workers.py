"""Workers of a stage come when they are needed, and all that are needed come."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import Graph, ParallelBatchNode, Pipeline
from kaygraph.testing import simulate
from tests.blocks import SET
from tests.clock import VIRTUAL
from tests.run.draining import Kept
from tests.stages import Read, Stage, results_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Tasks(ParallelBatchNode[Any, Any]):
    """Notes the tasks that work on its items, and how many do at once; some items suspend."""

    def __init__(self, seconds: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.seconds = seconds
        self.tasks = set[Any]()
        self.running = self.most = 0
        self.report: Any = None

    async def exec(self, item: Any) -> Any:
        self.tasks.add(asyncio.current_task())
        self.running += 1
        self.most = max(self.most, self.running)
        seconds = self.seconds(item) if callable(self.seconds) else self.seconds
        if seconds is not None:
            await asyncio.sleep(seconds)
        self.running -= 1
        return item

    def post(self, _: Any, __: Any, report: Any) -> None:
        self.report = report


async def test_items_that_never_suspend_have_one_worker() -> None:
    """However many there may be."""
    stages = [Tasks(None, max_workers=64) for _ in range(3)]
    assert await results_of(Pipeline(Read(range(1000)), *stages)) == list(range(1000))
    assert [len(stage.tasks) for stage in stages] == [1, 1, 1]
    assert [stage.report.workers for stage in stages] == [64, 64, 64]


async def test_items_that_suspend_have_all_workers() -> None:
    """Each item takes a second: 640 of them take ten."""
    stage = Tasks(1, max_workers=64)
    await results_of(Read(range(640)) | stage)
    assert stage.most == len(stage.tasks) == 64
    assert asyncio.get_running_loop().time() == 10


async def test_an_item_that_comes_while_others_are_worked_on_is_begun_at_once() -> None:
    """One of those that are free waits at the inbox."""

    async def arriving() -> Any:
        for number in range(5):
            yield number
            await asyncio.sleep(1)

    stage = Stage(10, max_workers=5)
    await results_of(Read(arriving()) | stage)
    assert asyncio.get_running_loop().time() == 14


async def test_one_item_that_suspends_holds_up_no_other() -> None:
    """Another worker goes on with those that never do."""
    stage = Tasks(lambda item: 5 if item == 3 else None, max_workers=2, ordered=False)
    await results_of(Read(range(100)) | stage | Stage())
    assert len(stage.tasks) == 2
    assert asyncio.get_running_loop().time() == 5


async def test_workers_that_were_not_needed_count_as_starved() -> None:
    """The figures of a stage are sums over all that it may have."""
    stage = Tasks(lambda item: 1 if item < 2 else None, max_workers=4)
    await results_of(Read([0, 1]) | stage)
    assert (stage.report.busy_s, stage.report.starved_s, stage.report.blocked_s) == (2, 2, 0)


async def test_workers_that_would_only_wait_for_room_count_as_blocked() -> None:
    """A slow stage behind them, and not its source, is why they do nothing."""
    stage = Tasks(None, max_workers=4)
    await results_of(Pipeline(Read(range(20)), stage, Stage(1), buffer=1))
    report = stage.report
    assert report.blocked_s > 10 * report.starved_s
    assert report.blocked_s + report.starved_s + report.busy_s == pytest.approx(4 * 18, rel=0.1)


async def test_nothing_is_started_once_a_stage_has_failed() -> None:
    """Though items lie in the inbox."""

    async def fails(item: int) -> None:
        await asyncio.sleep(0)
        raise LookupError(item)

    stage = Tasks(0, max_workers=64)
    stage.exec = fails  # type: ignore[method-assign,assignment]
    before = asyncio.all_tasks()
    with pytest.raises((LookupError, ExceptionGroup)):
        await results_of(Read(range(1000)) | stage)
    assert asyncio.all_tasks() == before


async def test_variables_that_an_item_sets_are_not_seen_by_workers_that_come_later() -> None:
    """They come from the stage, and not from the item."""
    seen = []

    class Sets(ParallelBatchNode[int, int]):
        async def exec(self, item: int) -> int:
            seen.append(SET.get())
            SET.set(str(item))
            await asyncio.sleep(1)
            return item

    await results_of(Read(range(20)) | Sets(max_workers=8))
    assert seen == [""] * 20


SECONDS = st.sampled_from([None, 0, 0, 1, 3])
STAGE = st.tuples(
    st.integers(1, 5),  # max_workers
    st.booleans(),  # ordered
    st.booleans(),  # retries
    st.lists(SECONDS, min_size=1, max_size=4),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(STAGE, min_size=1, max_size=3),
    st.integers(1, 4),
    st.lists(SECONDS, max_size=25),
    st.integers(0, 999),
)
def test_no_stage_stands_still(stages: Any, buffer: int, source: list[Any], seed: int) -> None:
    """All items come through whatever suspends, and in whatever order ready tasks run."""

    async def read() -> Any:
        for number, seconds in enumerate(source):
            if seconds is not None:
                await asyncio.sleep(seconds)
            yield number

    def made(workers: int, ordered: bool, retries: bool, seconds: list[Any]) -> Tasks:
        return Tasks(
            lambda item: seconds[item % len(seconds)],
            max_workers=workers, ordered=ordered, max_retries=2 if retries else 1,
        )  # fmt: skip

    nodes = [made(*stage) for stage in stages]
    line, shared = Kept(Read(read()), *nodes, buffer=buffer, name="line"), dict[str, Any]()
    assert not simulate(Graph(line), shared, seed=seed).left
    results = shared["line"]
    assert sorted(results) == list(range(len(source)))
    if all(node.ordered for node in nodes):
        assert results == sorted(results)
    assert all(node.most <= node.max_workers for node in nodes)
