"""Pipelines as nodes: their results, streams, sources and wiring."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from itertools import count
from typing import Any

import pytest
import structlog

from kaygraph import (
    BatchGraph,
    Graph,
    Node,
    ParallelBatchNode,
    Pipeline,
)
from kaygraph.nodes import HTTPLines, HTTPPages, ReadText, SQLRead
from tests.calls import Gauge
from tests.clock import VIRTUAL
from tests.stages import Picky, Read, Stage, results_of
from tests.turns import looking

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def test_without_collecting_there_are_no_results() -> None:
    """collect=False: every item goes through, and nothing is kept."""
    stage = Stage()
    assert await results_of(Pipeline(Read(range(500)), stage, collect=False, buffer=2)) is None
    assert len(stage.ended) == 500
    assert stage.report is not None
    assert stage.report.results is None


async def test_a_stream_takes_results_as_they_come() -> None:
    """The first is there long before the last, and the stages' posts are called at the end."""
    stage, shared, times = Stage(1), dict[str, Any](), list[float]()
    async with aclosing((Read(range(5)) | stage).stream(shared)) as results:
        async for result in results:
            assert result == len(times)
            times.append(asyncio.get_running_loop().time())
    assert times == pytest.approx([1, 2, 3, 4, 5])
    assert shared["posts"] == ["Stage"]


async def test_a_slow_reader_slows_the_stages() -> None:
    """No more than a buffer of results waits for the reader of a stream."""
    stage = Stage()
    async with aclosing(Pipeline(Read(count()), stage, buffer=3).stream()) as results:
        assert await anext(results) == 0
        await asyncio.sleep(1000)
        assert len(stage.ended) <= 1 + 3 + 1


async def test_leaving_a_stream_early_stops_everything() -> None:
    """The source is closed and no stage runs on."""

    def source() -> Iterator[int]:
        nonlocal closed
        try:
            yield from count()
        finally:
            closed = True

    closed, stage, tasks = False, Stage(1, max_workers=3), asyncio.all_tasks()
    async with aclosing((Read(source()) | stage).stream()) as results:
        async for result in results:
            if result == 5:
                break
    assert closed
    assert asyncio.all_tasks() == tasks


async def test_a_failure_ends_a_stream() -> None:
    """After the results that were there before it."""
    async with aclosing(Pipeline(Read([1, 2, 3]), Picky()).stream()) as results:
        assert [await anext(results), await anext(results)] == [10, 20]
        with pytest.raises(ValueError, match="3"):
            await anext(results)


@pytest.mark.parametrize("items", [[1, 2], iter([1, 2]), range(1, 3)])
async def test_a_first_stage_with_an_exec_works_on_what_its_prep_gives(items: Any) -> None:
    """Its prep is the source, its exec the first work."""

    class First(Stage):
        def prep(self, _: Any) -> Any:
            return items

        async def exec(self, item: int) -> int:
            return item * 2

    first = First(max_workers=2)
    assert await results_of(first | Stage()) == [2, 4]
    assert first.report is not None
    assert (first.report.items, first.report.workers) == (2, 2)


async def test_a_source_may_be_asynchronous() -> None:
    """An async generator in prep, awaited or not."""

    class Source(Node[Any, Any]):
        async def prep(self, _: Any) -> AsyncIterator[int]:
            for number in range(3):
                await asyncio.sleep(1)
                yield number

    assert await results_of(Source() | Stage()) == [0, 1, 2]


async def test_a_source_that_is_none_is_refused_by_name() -> None:
    """The first stage's prep has to return items."""
    with pytest.raises(TypeError, match=r"Read' must return an iterable"):
        await (Read(7) | Stage()).run_async({})


@pytest.mark.parametrize("buffer", [1, 64])
async def test_no_items_give_no_results(buffer: int) -> None:
    """Every post is called, with a report of nothing."""
    stage = Stage()
    assert await results_of(Pipeline(Read([]), stage, buffer=buffer)) == []
    assert stage.report is not None
    assert stage.report.items == 0


async def test_a_pipeline_stands_in_a_graph() -> None:
    """It starts when the node before has finished and ends before the node after begins."""

    class Gives(Node[Any, Any]):
        def post(self, shared: Any, *_: Any) -> None:
            shared["items"] = [1, 2]

    class Takes(Node[Any, Any]):
        def prep(self, _: Any) -> Any:
            return iter(shared["items"])

    class Sums(Node[Any, Any]):
        def prep(self, shared: Any) -> None:
            shared["sum"] = sum(stage.ended)

    stage, shared = Stage(), dict[str, Any]()
    await Graph(Gives() >> (Takes() | stage) >> Sums()).run_async(shared)
    assert shared["sum"] == 3


async def test_a_pipeline_runs_in_the_rounds_of_a_batch_graph() -> None:
    """Each round has a stream of its own, several at once, with its params in every stage."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"n": n} for n in range(4)]

    class Source(Node[Any, Any]):
        def prep(self, _: Any) -> Any:
            return range(self.params["n"])

    class Tags(ParallelBatchNode[Any, Any]):
        async def exec(self, item: int) -> Any:
            await asyncio.sleep(1)
            return (self.params["n"], item)

        def post(self, shared: Any, _: Any, report: Any) -> None:
            shared[self.params["n"]] = report.results

    shared: dict[Any, Any] = {}
    await Rounds(Source() | Tags(max_workers=2), max_workers=3).run_async(shared)
    assert shared == {n: [(n, item) for item in range(n)] for n in range(4)}


async def test_a_cap_of_one_around_a_pipeline_lets_every_stage_work() -> None:
    """Stages share the graph's permits fairly, one exec at a time, and none waits for ever."""

    class Counts(Stage):
        async def exec(self, item: int) -> int:
            await gauge(1)
            return item

    gauge = Gauge()
    stages = Counts(max_workers=3), Counts(max_workers=2), Counts()
    await Graph(Pipeline(Read(range(8)), *stages, buffer=1), max_workers=1).run_async({})
    assert gauge.most == 1
    assert asyncio.get_running_loop().time() == pytest.approx(24)


async def test_two_nodes_of_a_class_are_distinguished() -> None:
    """The second `Stage` is `Stage-2`, in events and reports."""
    first, second = Stage(), Stage()
    await (Read([1]) | first | second).run_async({})
    assert first.report is not None
    assert second.report is not None
    assert first.report.name.endswith("Stage")
    assert second.report.name.endswith("Stage-2")


def test_a_node_can_stand_in_a_pipeline_only_once() -> None:
    """The same object twice would share its figures: it is refused."""
    stage = Stage()
    with pytest.raises(TypeError, match="only one stage"):
        stage | Stage() | stage


def test_a_stage_with_a_deadline_of_its_batch_is_refused() -> None:
    """A stage has no batch: the limit would not hold, and the error says what does."""
    with pytest.raises(ValueError, match=r"'Stage' sets batch_deadline.*deadline=seconds"):
        Read([1]) | Stage(batch_deadline=5)


@pytest.mark.parametrize(
    "source",
    [
        ReadText("a.txt"),
        SQLRead("sqlite:///a.db", "SELECT 1"),
        HTTPPages("http://localhost/"),
        HTTPLines("http://localhost/"),
    ],
    ids=repr,
)
def test_a_source_stands_first(source: Any) -> None:
    """Later it would be handed items that it can make nothing of."""
    Pipeline(source, Stage())
    with pytest.raises(TypeError, match="is a source, which takes no items: it must be first"):
        Read([1]) | Stage() | source


@pytest.mark.parametrize("other", [Graph(Node()), Graph(Node()) >> Node(), 7, None])
def test_what_is_not_a_node_cannot_be_a_stage(other: Any) -> None:
    """A Graph, a chain, a number: a TypeError that says what a stage is."""
    with pytest.raises(TypeError, match=r"stage|\|"):
        Stage() | other


def test_a_pipeline_needs_a_stage_and_a_buffer() -> None:
    """No stage, or no room between them, is a mistake."""
    with pytest.raises(TypeError, match="at least one stage"):
        Pipeline()
    for buffer in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="buffer must be"):
            Pipeline(Stage(), buffer=buffer)  # type: ignore[arg-type]


def test_pipes_of_pipes_are_one_pipeline() -> None:
    """`(a | b) | (c | d)` has four stages, whatever the parentheses."""
    one, two, three, four = (Stage(name=name) for name in "abcd")
    pipeline: Any = (one | two) | (three | four)
    assert pipeline.stages == (one, two, three, four)
    assert repr(pipeline) == "<Pipeline a | b | c | d>"


async def test_a_source_of_many_items_does_not_starve_the_loop() -> None:
    """Another task gets its turn while items that never suspend stream through."""

    class NoOp(Node[Any, Any]):
        async def exec(self, item: int) -> int:
            nonlocal ran
            ran += 1
            return item

    ran = 0
    async with looking(lambda: ran) as seen:
        await Pipeline(Read(range(20_000)), NoOp(), collect=False).run_async({})
    assert ran == 20_000
    assert len(seen) > 20_000 / 2048


async def test_a_source_alone_does_not_starve_the_loop() -> None:
    """A pipeline of one stage without an exec yields to others too."""
    async with looking(lambda: None) as turns:
        await asyncio.sleep(0)
        before = len(turns)
        await Pipeline(Read(range(20_000)), collect=False).run_async({})
    assert len(turns) - before > 20_000 / 2048


def test_hooks_of_a_stage_log_under_the_name_that_its_events_have() -> None:
    """Two stages of one class are distinguished, in prep and in exec."""

    class Same(Node[Any, Any]):
        def prep(self, shared: Any, /) -> list[int]:
            self.log.info("prep")
            return [1]

        async def exec(self, item: int, /) -> int:
            self.log.info("exec")
            return item

    with structlog.testing.capture_logs() as lines:
        (Same() | Same()).run()
    assert [(line["event"], line["node"]) for line in lines] == [
        (hook, f"Pipeline/{name}") for hook in ("prep", "exec") for name in ("Same", "Same-2")
    ]


async def test_a_source_that_swallows_the_cancellation_does_not_keep_the_run() -> None:
    """A cancelled pipeline ends, whatever its async source does with the cancellation."""
    begun = asyncio.Event()

    class Deaf(Node[Any, Any]):
        async def prep(self, shared: Any, /) -> AsyncIterator[int]:
            async def items() -> AsyncIterator[int]:
                for number in count():
                    begun.set()
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(1)
                    yield number

            return items()

    task = asyncio.create_task((Deaf() | Stage()).run_async({}))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(60):
            await task
