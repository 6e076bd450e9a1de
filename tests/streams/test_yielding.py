"""Stages whose exec yields: values go on as they come, in bounded space, and are yielded once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import count
from typing import Any

import anyio
import pytest

from kaygraph import (
    AttemptTimeoutError,
    DeadlineExceededError,
    Drop,
    Graph,
    ItemFailed,
    ItemFinished,
    Outcome,
    ParallelBatchNode,
    Pipeline,
    RateLimit,
)
from tests.calls import now
from tests.clock import VIRTUAL
from tests.stages import Read, Stage, results_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Yields(Stage):
    """Yields what a function makes of an item, and notes how far it has come."""

    def __init__(self, values: Callable[[Any], AsyncIterator[Any]], **settings: Any) -> None:
        super().__init__(**settings)
        self.values = values
        self.steps: list[Any] = []
        self.closed: list[Any] = []
        self.tasks: set[Any] = set()

    async def exec(self, item: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        self.tasks.add((item, asyncio.current_task()))
        try:
            async with aclosing(self.values(item)) as values:  # type: ignore[type-var]
                async for value in values:
                    self.steps.append(value)
                    yield value
        finally:
            self.tasks.add((item, asyncio.current_task()))
            self.closed.append(item)


async def numbers(_: Any) -> AsyncIterator[int]:
    """Yield numbers for ever."""
    for number in count():
        yield number


async def three(item: Any) -> AsyncIterator[str]:
    """Yield three values, one a second."""
    for letter in "abc":
        await asyncio.sleep(1)
        yield f"{item}{letter}"


async def test_a_value_goes_on_when_it_is_yielded() -> None:
    """Each comes out of the stream in the second in which it was made."""
    async with aclosing((Read([1, 2]) | Yields(three) | Stage()).stream()) as results:
        seen = [(now(), result) async for result in results]
    assert seen == [(at, value) for at, value in enumerate(["1a", "1b", "1c", "2a", "2b", "2c"], 1)]


async def test_an_endless_exec_gives_its_values() -> None:
    """As many as are asked for; then it is closed, in the task that has run it."""
    endless = Yields(numbers)
    async with aclosing((Read(["x"]) | endless | Stage()).stream()) as results:
        assert [await anext(results) for _ in range(100)] == list(range(100))
        assert endless.closed == []
    assert endless.closed == ["x"]
    assert len(endless.tasks) == 1


@pytest.mark.parametrize(("workers", "ordered"), [(1, True), (3, True), (3, False)])
@pytest.mark.parametrize("buffer", [1, 4])
async def test_an_exec_goes_no_further_than_there_is_room(
    workers: int, ordered: bool, buffer: int
) -> None:
    """Nobody reads: no more than a buffer of values is made, and a share of it for each worker."""
    endless = Yields(numbers, max_workers=workers, ordered=ordered)
    pipeline = Pipeline(Read(range(9)), endless, buffer=buffer)
    async with aclosing(pipeline.stream()) as results:
        await anext(results)
        await asyncio.sleep(1000)
        most = 1 + buffer
        if workers > 1:
            window = max(buffer, workers)
            most += window + workers * max(1, window // workers) if ordered else workers
        assert len(endless.steps) <= most
    assert sorted(endless.closed) == list(range(workers))  # those that had begun


async def test_an_exec_that_waits_for_room_holds_no_permit() -> None:
    """Under a cap of one the stage behind it works, and it goes on afterwards."""
    running: set[str] = set()

    async def values(_: Any) -> AsyncIterator[int]:
        for number in range(10):
            assert not running
            running.add("yields")
            await asyncio.sleep(1)
            running.discard("yields")
            yield number

    class Takes(Stage):
        async def exec(self, item: int) -> int:
            assert not running
            running.add("takes")
            await asyncio.sleep(1)
            running.discard("takes")
            return item

    yields = Yields(values, limit_by=lambda _: "key")
    pipeline = Pipeline(Read(range(2)), yields, Takes(), buffer=1)
    await Graph(pipeline, max_workers=1).run_async({})
    assert len(yields.steps) == 20


async def test_a_rate_counts_an_exec_once() -> None:
    """However often it waits for room between its values."""
    yields = Yields(three, rate=RateLimit(1, per=100))
    assert len(await results_of(Pipeline(Read([0, 1]), yields, Stage(5), buffer=1))) == 6
    assert now() == pytest.approx(100 + 1 + 3 * 5)


async def test_the_first_item_streams_while_the_others_wait_in_order() -> None:
    """Three workers: the first item's values go on as they come, then all that the others have."""
    times: list[tuple[float, Any]] = []
    stage = Yields(three, max_workers=3)
    async with aclosing(Pipeline(Read([0, 1, 2]), stage).stream()) as results:
        async for result in results:
            times.append((now(), result))
    assert times == [
        (1, "0a"), (2, "0b"), *((3, f"{item}{letter}") for item, letters in
        (("0", "c"), ("1", "abc"), ("2", "abc")) for letter in letters),
    ]  # fmt: skip


async def test_a_second_item_streams_once_it_is_its_turn() -> None:
    """What it had is handed over with the end of the first, what comes later as it comes."""

    async def values(item: int) -> AsyncIterator[Any]:
        for number in range(2 + 4 * item):
            await asyncio.sleep(1)
            yield item, number

    times: list[float] = []
    stage = Yields(values, max_workers=2)
    async with aclosing(Pipeline(Read([0, 1]), stage).stream()) as results:
        async for _ in results:
            times.append(now())
    assert times == [1, 2, 2, 2, 3, 4, 5, 6]


async def test_unordered_values_go_on_as_they_come() -> None:
    """The values of several items are mixed."""
    yields = Yields(three, max_workers=2, ordered=False)
    assert sorted(await results_of(Read([0, 1]) | yields)) == sorted(
        f"{item}{letter}" for item in (0, 1) for letter in "abc"
    )
    assert now() == 3


async def test_an_exec_that_has_not_yielded_is_tried_again() -> None:
    """Nothing has gone on, so nothing is doubled."""

    class Flaky(Stage):
        async def exec(self, item: int) -> AsyncIterator[Any]:  # type: ignore[override]
            attempts.append(self.attempt)
            if self.attempt < 3:
                raise ConnectionError
            yield item
            yield item

    attempts: list[int] = []
    assert await results_of(Read([7]) | Flaky(max_retries=3)) == [7, 7]
    assert attempts == [1, 2, 3]


class Breaks(Stage):
    """Yields twice, and fails."""

    async def exec(self, item: int) -> AsyncIterator[Any]:  # type: ignore[override]
        self.begun.append(item)
        yield f"{item}a"
        yield f"{item}b"
        raise ConnectionError(item)


async def test_an_exec_that_has_yielded_is_not_tried_again() -> None:
    """Its values would go on twice; the error says so."""
    breaks = Breaks(max_retries=5)
    with pytest.raises(ConnectionError) as caught:
        await results_of(Read([1]) | breaks)
    assert breaks.begun == [1]
    assert "not tried again: exec had yielded 2 values" in caught.value.__notes__


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("on_error", ["collect", "skip", 2])
async def test_a_failure_stands_behind_the_values_that_went_before(
    workers: int, on_error: Any
) -> None:
    """What has gone on stays; on_error says what becomes of the item."""
    breaks = Breaks(max_workers=workers, on_error=on_error)
    results = await results_of(Read([1, 2]) | breaks)
    shown = [(r.status, r.item, r.attempts) if isinstance(r, Outcome) else r for r in results]
    failed: Any = [[], []] if on_error == "skip" else [[("failed", i, 1)] for i in (1, 2)]
    assert shown == ["1a", "1b", *failed[0], "2a", "2b", *failed[1]]
    report = breaks.report
    assert report is not None
    assert (report.items, report.ok, report.failed + report.skipped) == (2, 0, 2)


async def test_a_drop_ends_an_item_that_has_yielded() -> None:
    """Its values stay, and it counts as skipped."""

    class Drops(Stage):
        async def exec(self, item: int) -> AsyncIterator[Any]:  # type: ignore[override]
            yield item
            raise Drop

    drops = Drops()
    assert await results_of(Read([1, 2]) | drops) == [1, 2]
    assert drops.report is not None
    assert (drops.report.ok, drops.report.skipped) == (0, 2)


async def listed(_: Any, item: int, __: Exception) -> Any:
    return [f"{item}x", f"{item}y"]


def generated(_: Any, item: int, __: Exception) -> Any:
    yield f"{item}x"
    yield f"{item}y"


async def awaited(_: Any, item: int, __: Exception) -> Any:
    yield f"{item}x"
    await asyncio.sleep(1)
    yield f"{item}y"


@pytest.mark.parametrize("fallback", [listed, generated, awaited])
@pytest.mark.parametrize("workers", [1, 2])
async def test_what_a_fallback_gives_follows(fallback: Any, workers: int) -> None:
    """A list, or values that it yields itself; the item is ok."""
    kind: Any = type("Falls", (Breaks,), {"exec_fallback": fallback})
    falls = kind(max_workers=workers)
    assert await results_of(Pipeline(Read([1, 2]), falls, Stage(), buffer=1)) == [
        "1a", "1b", "1x", "1y", "2a", "2b", "2x", "2y",
    ]  # fmt: skip
    assert falls.report.ok == 2


async def test_a_fallback_that_gives_no_values_is_refused() -> None:
    """A string would go on letter by letter; the error says what to write."""

    class Falls(Breaks):
        def exec_fallback(self, item: int, exc: Exception) -> Any:
            return "cut short"

    with pytest.raises(TypeError, match=r"exec_fallback gave a str: yield .* or return a list"):
        await results_of(Read([1]) | Falls())


@pytest.mark.parametrize("setting", ["timeout", "deadline"])
async def test_a_wait_for_room_is_not_the_execs_time(setting: str) -> None:
    """Three seconds of work are within four, however slow the stage behind is."""
    yields = Yields(three, **{setting: 4}, on_error="collect")
    results = await results_of(Pipeline(Read([1, 2]), yields, Stage(50), buffer=1))
    assert results == ["1a", "1b", "1c", "2a", "2b", "2c"]


@pytest.mark.parametrize(
    ("setting", "kind"), [("timeout", AttemptTimeoutError), ("deadline", DeadlineExceededError)]
)
async def test_an_exec_that_takes_too_long_between_its_values_ends(setting: str, kind: Any) -> None:
    """The time before a wait for room counts, and so does the time after it."""
    yields = Yields(three, **{setting: 2.5}, on_error="collect", max_retries=2)
    results = await results_of(Pipeline(Read([1]), yields, Stage(50), buffer=1))
    assert results[:2] == ["1a", "1b"]
    assert isinstance(results[2].error, kind)
    assert len(results) == 3
    assert results[2].seconds == pytest.approx(2.5)
    assert results[2].attempts == 1


async def late(_: Any) -> AsyncIterator[str]:
    yield "in time"
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    yield "too late"


@pytest.mark.parametrize("setting", ["timeout", "deadline"])
async def test_what_is_yielded_after_the_time_limit_is_dropped(setting: str) -> None:
    """As is what an exec returns that has swallowed its cancellation."""
    first, failed = await results_of(Read([1]) | Yields(late, **{setting: 5}, on_error="collect"))
    assert first == "in time"
    assert failed.status == "timed_out"


async def test_the_figures_tell_work_from_waiting_for_room() -> None:
    """What a stage waits for room in the middle of an item is blocked_s, not busy_s."""
    yields = Yields(three)
    await results_of(Pipeline(Read([1, 2]), yields, Stage(10), buffer=1))
    assert yields.report is not None
    assert yields.report.busy_s == pytest.approx(6)
    assert yields.report.blocked_s == pytest.approx(60 - 6 - 20 + 1, abs=12)


async def test_the_events_of_an_item_stand_around_all_its_values() -> None:
    """One ItemFinished an item, with the seconds that exec has taken."""
    events: list[Any] = []
    pipeline = Pipeline(Read([1, 2]), Yields(three, name="yields"), Stage(10), buffer=1)
    await Graph(pipeline).run_async({}, observers=[events.append])
    ended = [e for e in events if isinstance(e, ItemFinished) and e.node.endswith("yields")]
    assert [(e.item, e.attempts) for e in ended] == [(0, 1), (1, 1)]
    assert [e.seconds for e in ended] == pytest.approx([3, 3])


# --- scopes, cancellations --------------------------------------------------------------------


async def within_a_scope(item: int) -> AsyncIterator[int]:
    async with anyio.create_task_group() as group:
        group.start_soon(asyncio.sleep, 2)
        with anyio.fail_after(1000):
            async with asyncio.timeout(1000):
                for number in range(20):
                    await asyncio.sleep(1)
                    yield 100 * item + number


@pytest.mark.parametrize("ordered", [True, False])
async def test_an_exec_may_hold_scopes_over_its_yields(ordered: bool) -> None:
    """Task groups and time limits of anyio and asyncio, with waits for room between."""
    yields = Yields(within_a_scope, max_workers=3, ordered=ordered)
    results = await results_of(Pipeline(Read(range(5)), yields, Stage(2), buffer=2))
    assert sorted(results) == [100 * item + number for item in range(5) for number in range(20)]


@asynccontextmanager
async def failing_after(seconds: float) -> AsyncIterator[None]:
    with anyio.fail_after(seconds):
        yield


@pytest.mark.parametrize("limit", [failing_after, asyncio.timeout])
async def test_a_limit_of_the_execs_own_ends_it_also_while_it_waits_for_room(limit: Any) -> None:
    """It is raised at the yield: the item has failed with it, and the pipeline goes on."""

    class Limited(Stage):
        async def exec(self, item: int) -> AsyncIterator[int]:  # type: ignore[override]
            async with limit(3):
                async for number in numbers(item):
                    yield number

    limited = Limited(on_error="collect")
    results = await results_of(Pipeline(Read([1, 2]), limited, Stage(10), buffer=1))
    assert [r for r in results if not isinstance(r, Outcome)] == [0, 1, 0]
    assert [type(r.error) for r in results if isinstance(r, Outcome)] == [TimeoutError] * 2


async def test_a_scope_that_the_exec_leaves_lets_it_go_on() -> None:
    """What is cancelled while it waits for room is the part within the scope, and no more."""

    class Leaves(Stage):
        async def exec(self, item: int) -> AsyncIterator[Any]:  # type: ignore[override]
            with anyio.move_on_after(3):
                async for number in numbers(item):
                    yield number
            yield "after"

    leaves = Leaves()
    assert await results_of(Pipeline(Read([1]), leaves, Stage(10), buffer=1)) == [0, 1, "after"]
    assert leaves.report is not None
    assert leaves.report.ok == 1


@pytest.mark.parametrize("when", [0.5, 1.5, 30])
@pytest.mark.parametrize("workers", [1, 3])
async def test_a_cancelled_exec_is_closed_in_its_own_task(when: float, workers: int) -> None:
    """In its own wait and while it waits for room, with what it awaits in its `finally`."""
    cleaned: list[Any] = []

    async def values(item: int) -> AsyncIterator[int]:
        try:
            for number in count():
                await asyncio.sleep(1)
                yield number
        finally:
            await asyncio.sleep(5)
            cleaned.append((item, asyncio.current_task()))

    yields = Yields(values, max_workers=workers)
    events: list[Any] = []
    run = Pipeline(Read(count()), yields, Stage(1000), buffer=1).launch(
        {}, observers=[events.append]
    )
    await asyncio.sleep(when)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert set(cleaned) == yields.tasks
    assert len(cleaned) == workers
    statuses = [e.status for e in events if isinstance(e, ItemFailed) and "Yields" in e.node]
    assert statuses[:workers] == ["cancelled"] * workers


@pytest.mark.parametrize("kind", [asyncio.CancelledError, BaseException])
@pytest.mark.parametrize("ordered", [True, False])
async def test_an_exec_that_swallows_its_cancellation_does_not_keep_the_run(
    kind: Any, ordered: bool
) -> None:
    """It is asked for no more values, and closed."""

    class Deaf(Stage):
        async def exec(self, item: int) -> AsyncIterator[int]:  # type: ignore[override]
            for number in count():
                with suppress(kind):
                    await asyncio.sleep(1)
                try:
                    yield number
                except asyncio.CancelledError:
                    continue

    task = asyncio.create_task(
        Pipeline(
            Read(count()), Deaf(max_workers=2, ordered=ordered), Stage(50), buffer=1
        ).run_async({})
    )
    await asyncio.sleep(10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(60) as limit:
            await task
    assert not limit.expired()


async def test_a_drain_lets_an_exec_come_to_its_end() -> None:
    """What is in flight is the item: all of its values go on, and no other item is taken."""
    yields, last = Yields(three), Stage(2)
    run = Pipeline(Read(count()), yields, last, buffer=1).launch({})
    await asyncio.sleep(1.5)
    run.drain()
    await run
    assert (
        last.ended
        == yields.steps
        == [f"{item}{letter}" for item in yields.closed for letter in "abc"]
    )


async def test_an_endless_exec_ends_with_the_grace_of_a_drain() -> None:
    """It is in flight until then; what it had yielded stays."""
    yields, last = Yields(numbers), Stage(1)
    run = Pipeline(Read(["x"]), yields, last, buffer=1).launch({})
    await asyncio.sleep(5)
    run.drain(grace=5)
    await run
    assert yields.closed == ["x"]
    assert yields.report is not None
    assert (yields.report.items, yields.report.cancelled) == (1, 1)
    assert last.report is not None
    assert last.report.ok == len(last.ended) >= 9


async def test_tokens_of_a_model_stream_out_of_a_pipeline() -> None:
    """A token is there when it was made: through a further stage, before the answer is whole."""

    class Asks(ParallelBatchNode[str, str]):
        def prep(self, shared: Any) -> Any:
            return shared["prompts"]

        async def exec(self, prompt: str) -> AsyncIterator[str]:  # type: ignore[override]
            for token in prompt.split():
                await asyncio.sleep(0.1)
                yield token

    class Upper(Stage):
        async def exec(self, token: str) -> str:
            return token.upper()

    seen = []
    stream = (Asks(max_workers=2) | Upper()).stream({"prompts": ["it was a dark", "and stormy"]})
    async with aclosing(stream) as tokens:
        async for token in tokens:
            seen.append((round(now(), 3), token))
    assert seen == [
        (0.1, "IT"), (0.2, "WAS"), (0.3, "A"), (0.4, "DARK"), (0.4, "AND"), (0.4, "STORMY"),
    ]  # fmt: skip


async def group_of_tasks(_: Any, fails: bool = False) -> AsyncIterator[int]:
    """Yield numbers within a task group, in which a task may fail."""

    async def work() -> None:
        await asyncio.sleep(3)
        if fails:
            raise KeyError("in a task")

    async with asyncio.TaskGroup() as group:
        group.create_task(work())
        for number in count():
            await asyncio.sleep(1)
            yield number


class Passes(Stage):
    """Yields what another generator yields, which it closes itself."""

    fails = False

    async def exec(self, item: int) -> AsyncIterator[int]:  # type: ignore[override]
        async with aclosing(group_of_tasks(item, self.fails)) as numbers:
            async for number in numbers:
                yield number


async def test_an_exec_closes_a_generator_of_its_own_with_a_task_group() -> None:
    """The group wraps the closing, which is not an error: the run ends as cancelled."""
    run = Pipeline(Read([1]), Passes(), Stage(1000), buffer=1).launch({})
    await asyncio.sleep(50)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    async with aclosing((Read([1]) | Passes()).stream()) as results:
        assert await anext(results) == 0


async def test_what_fails_in_a_generator_within_is_the_items_error() -> None:
    """Also while it waits for room: it is collected as any other."""
    passes = Passes(on_error="collect")
    passes.fails = True
    results = await results_of(Pipeline(Read([1]), passes, Stage(10), buffer=1))
    assert results[:-1] == [0, 1]
    assert isinstance(results[-1].error, ExceptionGroup)
    assert isinstance(results[-1].error.exceptions[0], KeyError)
