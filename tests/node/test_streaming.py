"""``stream()`` of batches and pipelines: watched, limited and checked like every other run."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import aclosing
from itertools import count
from typing import Any

import pytest

from kaygraph import (
    DeadlineExceededError,
    Event,
    ItemFinished,
    Node,
    ParallelBatchNode,
    Pipeline,
    RunFinished,
    RunStarted,
)
from kaygraph.testing import assert_accounted
from kaygraph.types import Streaming
from tests.calls import now
from tests.clock import VIRTUAL
from tests.stages import Read, Stage

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Batch(ParallelBatchNode[int, int]):
    """Takes a second for each item, one after another."""

    max_workers = 1

    def __init__(self, items: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, item: int) -> int:
        await asyncio.sleep(1)
        return item


def batch(items: Any) -> Streaming[Any]:
    return Batch(items)


def pipeline(items: Any) -> Streaming[Any]:
    return Pipeline(Read(items), Stage(1), buffer=1)


BOTH = pytest.mark.parametrize("made", [batch, pipeline])
Made = Callable[[Any], Streaming[Any]]


def item_of(result: Any) -> int:
    """The item of an outcome, or a result as it is."""
    return getattr(result, "item", result)  # type: ignore[no-any-return]


@BOTH
async def test_a_stream_is_watched(made: Made) -> None:
    """Observers see the run begin and end, and every item in between."""
    events = list[Event]()
    node = made(range(3))
    async with aclosing(node.stream(observers=[events.append])) as results:
        assert [item_of(result) async for result in results] == [0, 1, 2]
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].error is None
    assert sum(isinstance(event, ItemFinished) for event in events) == 3
    assert_accounted(events)


@BOTH
async def test_a_stream_ends_at_its_deadline(made: Made) -> None:
    """What was done in time is yielded, then the error is raised, and nothing goes on."""
    node, tasks, got = made(count()), asyncio.all_tasks(), list[int]()

    async def read() -> None:
        async for result in node.stream(deadline=3.5):
            got.append(item_of(result))

    with pytest.raises(DeadlineExceededError) as caught:
        await read()
    assert str(caught.value) == f"the run of '{node.name}' ran longer than deadline=3.5 s"
    assert (got, now()) == ([0, 1, 2], 3.5)
    assert asyncio.all_tasks() == tasks


@BOTH
async def test_the_time_of_the_reader_counts(made: Made) -> None:
    """A reader that comes late finds the results that wait for it, and then the error."""
    tasks = asyncio.all_tasks()
    async with aclosing(made(count()).stream(deadline=9)) as results:
        got = [item_of(await anext(results))]
        await asyncio.sleep(100)
        assert asyncio.all_tasks() == tasks
        with pytest.raises(DeadlineExceededError):  # noqa: PT012 - after some results
            while True:
                got.append(item_of(await anext(results)))
    assert got == list(range(len(got)))
    assert 2 <= len(got) <= 4


@BOTH
async def test_a_stream_in_time_is_not_touched(made: Made) -> None:
    """All results come, and no error."""
    assert [item_of(result) async for result in made(range(3)).stream(deadline=4)] == [0, 1, 2]


@BOTH
async def test_a_stream_that_is_left_before_its_deadline_raises_nothing(made: Made) -> None:
    """The deadline ends with the run."""
    async with aclosing(made(count()).stream(deadline=2.5)) as results:
        assert item_of(await anext(results)) == 0
    await asyncio.sleep(10)


@BOTH
async def test_what_makes_no_sense_is_refused_before_anything_is_read(made: Made) -> None:
    """As by run(): at the call, with what to write instead."""
    node: Any = made([1])
    with pytest.raises(TypeError, match=r"observers=\[report\]"):
        node.stream(observers=print)
    with pytest.raises(ValueError, match="deadline must be"):
        node.stream(deadline=0)
    node >> Node()
    with pytest.warns(UserWarning, match="runs alone; to also run the nodes that follow it"):
        node.stream()


@BOTH
async def test_a_stream_that_nobody_reads_does_not_begin(made: Made) -> None:
    """No task, no event, and no coroutine that was never awaited."""
    events, tasks = list[Event](), asyncio.all_tasks()
    made([1]).stream(observers=[events.append], deadline=1)
    gc.collect()
    assert asyncio.all_tasks() == tasks
    assert events == []


async def test_what_a_bar_makes_can_be_streamed_run_and_wired() -> None:
    """Its type has all that a line of stages is asked for."""
    line: Streaming[Any] = Read([1, 2]) | Stage(1) | Stage(1)
    assert isinstance(line, Pipeline)
    assert [result async for result in line.stream()] == [1, 2]
    assert await line.run_async({}) is None
    line >> Node()
