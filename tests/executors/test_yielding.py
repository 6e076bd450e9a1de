"""A generator exec in a thread: as far as there is room, prompt, and in one thread and context."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from contextvars import ContextVar
from itertools import count
from typing import Any

import pytest

from kaygraph import (
    AttemptTimeoutError,
    BatchNode,
    Graph,
    Node,
    Outcome,
    ParallelBatchNode,
    Pipeline,
)
from kaygraph.testing import simulate
from tests.stages import Read, Stage, results_of

pytestmark = pytest.mark.anyio

NAME: ContextVar[str] = ContextVar("name")


class Counts(Stage):
    """Counts for ever in a thread, and notes how far it has come and where."""

    run_in: Any = "thread"
    last: float = float("inf")

    def __init__(self, last: float = float("inf"), **settings: Any) -> None:
        super().__init__(**settings)
        self.last = last
        self.made = 0
        self.threads: set[int] = set()
        self.closed = 0
        self.goal, self.far = 0, asyncio.Event()
        self.loop: Any = None

    async def has_made(self, number: int) -> None:
        """Wait until it has come so far."""
        self.far.clear()
        self.loop, self.goal = asyncio.get_running_loop(), number
        await ended(self.far.wait())

    def exec(self, item: Any) -> Iterator[Any]:  # type: ignore[override]
        token = NAME.set("mine")
        try:
            for number in count():
                self.threads.add(threading.get_ident())
                if number == self.last:
                    return
                self.made += 1
                if self.made == self.goal:
                    self.loop.call_soon_threadsafe(self.far.set)
                yield number
        finally:
            self.threads.add(threading.get_ident())
            self.closed += 1
            NAME.reset(token)


async def ended(run: Any) -> Any:
    """Wait for the end, and not for ever."""
    async with asyncio.timeout(60) as limit:
        result = await run
    assert not limit.expired()
    return result


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("buffer", [1, 64])
async def test_all_values_of_a_thread_go_on_in_order(workers: int, buffer: int) -> None:
    """Many times more than there is room for."""
    counts = Counts(1000, max_workers=workers)
    pipeline = Pipeline(Read(range(4)), counts, Stage(), buffer=buffer)
    assert await ended(results_of(pipeline)) == [*range(1000)] * 4
    assert counts.report is not None
    assert (counts.report.items, counts.report.ok, counts.closed) == (4, 4, 4)


async def test_many_values_that_are_only_collected() -> None:
    """There is always room, and the thread runs no more than a chunk ahead all the same."""
    assert await ended(results_of(Read([0]) | Counts(50_000))) == [*range(50_000)]


@pytest.mark.parametrize("buffer", [1, 5, 64])
async def test_a_thread_goes_no_further_than_there_is_room(buffer: int) -> None:
    """Nobody reads: it has made as many values as fit, and then it stands still."""
    counts = Counts()
    async with aclosing(Pipeline(Read([0]), counts, buffer=buffer).stream()) as results:
        assert [await anext(results) for _ in range(200)] == [*range(200)]
        made = -1
        while made != counts.made:
            made = counts.made
            await asyncio.sleep(0.02)
        assert made <= 200 + buffer
        assert counts.closed == 0
    assert counts.closed == 1


async def test_a_generator_stays_in_its_thread_and_context() -> None:
    """From its first step to its close: what is bound to a thread, or set in a context, works."""
    counts = Counts(500)
    await ended(results_of(Pipeline(Read([0]), counts, Stage(), buffer=8)))
    assert len(counts.threads) == 1
    assert threading.get_ident() not in counts.threads
    assert NAME.get("") == ""


async def test_a_value_comes_before_the_next_is_made() -> None:
    """A value does not wait for others that would go on with it."""
    go_on = threading.Event()

    class Waits(Stage):
        def exec(self, item: Any) -> Iterator[Any]:  # type: ignore[override]
            yield 1
            yield 2
            go_on.wait(60)
            yield 3

    async with aclosing((Read([0]) | Waits(run_in="thread")).stream()) as results:
        assert [await anext(results), await anext(results)] == [1, 2]
        assert not go_on.is_set()
        go_on.set()
        assert await ended(anext(results)) == 3


async def test_a_cancelled_thread_is_closed_and_waited_for() -> None:
    """Also while it waits for room; its `finally` has run when the run has ended."""
    counts = Counts()
    run = Pipeline(Read([0]), counts, Stage(1000), buffer=2).launch({})
    await counts.has_made(3)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended(run)
    assert counts.closed == 1


async def test_a_cancelled_thread_that_is_under_way_ends_after_its_step() -> None:
    """Where there is always room too."""
    counts = Counts()
    run = Pipeline(Read([0]), counts, collect=False).launch({})
    await counts.has_made(3000)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended(run)
    assert counts.closed == 1


async def test_what_a_thread_raises_comes_after_its_values() -> None:
    """As for any exec that yields; it is not tried again."""

    class Breaks(Stage):
        def exec(self, item: Any) -> Iterator[Any]:  # type: ignore[override]
            yield item
            raise ConnectionError(item)

    breaks = Breaks(run_in="thread", on_error="collect", max_retries=3)
    results = await ended(results_of(Read(["a"]) | breaks))
    assert results[0] == "a"
    assert isinstance(results[1].error, ConnectionError)
    assert results[1].attempts == 1


async def test_a_thread_that_overruns_its_timeout_ends_after_its_step() -> None:
    """The values that it had yielded have gone on; the error says how late it was."""

    class Slow(Stage):
        def exec(self, item: Any) -> Iterator[Any]:  # type: ignore[override]
            yield 1
            time.sleep(0.3)
            yield 2
            yield 3

    slow = Slow(run_in="thread", timeout=0.1, on_error="collect")
    results = await ended(results_of(Read([0]) | slow))
    assert [r for r in results if not isinstance(r, Outcome)] in ([1], [1, 2])
    assert isinstance(results[-1].error, AttemptTimeoutError)
    assert "it cannot be stopped" in str(results[-1].error)


async def test_a_wait_for_room_is_not_a_threads_time() -> None:
    """A timeout of a thread stands still as well."""

    class Quick(Stage):
        def exec(self, item: Any) -> Iterator[Any]:  # type: ignore[override]
            yield from range(4)

    quick = Quick(run_in="thread", timeout=0.25, on_error="collect")
    pipeline = Pipeline(Read([0]), quick, Stage(0.15), buffer=1)
    assert await ended(results_of(pipeline)) == [0, 1, 2, 3]


async def test_an_async_generator_runs_in_a_thread() -> None:
    """On a loop of its own, with what it awaits there."""

    class Awaits(Stage):
        async def exec(self, item: Any) -> AsyncIterator[Any]:  # type: ignore[override]
            threads.add(threading.get_ident())
            for number in range(300):
                if number % 100 == 0:
                    await asyncio.sleep(0.001)
                yield number

    threads: set[int] = set()
    pipeline = Pipeline(Read([0]), Awaits(run_in="thread"), Stage(), buffer=8)
    assert await ended(results_of(pipeline)) == [*range(300)]
    assert threading.get_ident() not in threads


async def test_an_async_generator_in_a_thread_is_closed() -> None:
    """It is cancelled while it waits for room."""

    class Endless(Stage):
        async def exec(self, item: Any) -> AsyncIterator[Any]:  # type: ignore[override]
            try:
                for number in count():
                    yield number
            finally:
                await asyncio.sleep(0)
                closed.append(item)

    closed: list[Any] = []
    pipeline = Pipeline(Read(["x"]), Endless(run_in="thread"), buffer=4)
    async with aclosing(pipeline.stream()) as results:
        assert [await anext(results) for _ in range(20)] == [*range(20)]
    assert closed == ["x"]


def test_a_generator_on_the_loop_goes_no_further_than_there_is_room() -> None:
    """run_in="loop": the steps are made between those of the others."""

    async def main() -> int:
        counts = Counts(run_in="loop")
        async with aclosing(Pipeline(Read([0]), counts, buffer=3).stream()) as results:
            assert [await anext(results) for _ in range(10)] == [*range(10)]
            await asyncio.sleep(0.01)
            assert counts.closed == 0
        assert counts.closed == 1
        return counts.made

    assert asyncio.run(main()) <= 14


@pytest.mark.parametrize("run_in", ["thread", "loop"])
def test_a_simulation_takes_every_step_at_its_time(run_in: str) -> None:
    """A thread is a call at once there; what it sleeps lies between its values."""

    class Sleeps(Stage):
        def exec(self, item: int) -> Iterator[Any]:  # type: ignore[override]
            for number in range(3):
                time.sleep(1)
                yield 10 * item + number

    class Notes(Stage):
        async def exec(self, item: int) -> int:
            seen.append((asyncio.get_running_loop().time(), item))
            return item

    seen: list[Any] = []
    run = simulate(Graph(Pipeline(Read([1, 2]), Sleeps(run_in=run_in), Notes(), buffer=1)))
    assert [item for _, item in seen] == [10, 11, 12, 20, 21, 22]
    if run_in == "thread":
        assert [at for at, _ in seen] == pytest.approx([1, 2, 3, 4, 5, 6])
    assert run.left == []


@pytest.mark.parametrize("kind", [Node, BatchNode, ParallelBatchNode])
@pytest.mark.parametrize("run_in", ["thread", "loop"])
async def test_outside_of_a_pipeline_the_values_are_one_list(kind: Any, run_in: str) -> None:
    """There the result of exec is one value."""

    def exec_(self: Any, item: Any) -> Iterator[Any]:
        yield from range(3)

    def post(self: Any, shared: Any, _: Any, result: Any) -> None:
        shared["result"] = result

    body = {"exec": exec_, "post": post, "prep": lambda _, __: [0]}
    shared: dict[str, Any] = {}
    await type("Lists", (kind,), body)(run_in=run_in).run_async(shared)
    assert shared["result"] == ([0, 1, 2] if kind is Node else [[0, 1, 2]])


async def test_an_executor_of_ones_own_gives_the_values_when_exec_has_ended() -> None:
    """It answers once a call; they go on with back-pressure from there."""

    class Splits(Stage):
        def exec(self, item: Any) -> Iterator[Any]:  # type: ignore[override]
            yield from range(item)

    with ThreadPoolExecutor(1) as executor:
        pipeline = Pipeline(Read([3, 0, 2]), Splits(run_in=executor), Stage(), buffer=1)
        assert await ended(results_of(pipeline)) == [0, 1, 2, 0, 1]
