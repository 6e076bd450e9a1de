"""A generator exec in a process: value by value, as far as there is room."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from kaygraph import AttemptTimeoutError, Outcome, Pipeline, WorkerDiedError
from tests.executors.working import Awaits, Yields
from tests.stages import Read, Stage, results_of

pytestmark = pytest.mark.anyio


async def ended(run: Any) -> Any:
    """Wait for the end, and not for ever."""
    async with asyncio.timeout(60) as limit:
        result = await run
    assert not limit.expired()
    return result


async def test_the_values_of_a_process_go_on_in_order() -> None:
    """Of several items in several processes, many more values than there is room for."""
    pipeline = Pipeline(
        Read([300, 0, 7, 300]), Awaits(run_in="process", max_workers=2), Stage(), buffer=16
    )
    assert await ended(results_of(pipeline)) == [*range(300), *range(7), *range(300)]


async def test_an_endless_exec_in_a_process_goes_no_further_than_there_is_room(
    tmp_path: Path,
) -> None:
    """Its values come while it runs, it stands still when nobody reads, and ends with the run."""
    file = tmp_path / "steps"
    endless = Yields(file, run_in="process")
    async with aclosing(Pipeline(Read([("", None)]), endless, buffer=8).stream()) as results:
        idents = {await ended(anext(results)) for _ in range(100)}
        assert len(idents) == 1  # one thread makes all its steps
        await asyncio.sleep(0.3)  # in which it could go further
        assert len(file.read_text().splitlines()) <= 100 + 8


async def test_a_value_comes_from_a_process_before_the_next_is_made() -> None:
    """What takes its time between two values holds up neither."""
    pipeline = Read([("wait", 2)]) | Yields(run_in="process")
    loop, times = asyncio.get_running_loop(), list[float]()
    async with aclosing(pipeline.stream()) as results:
        async for _ in results:
            times.append(loop.time())
    assert times[1] - times[0] > 0.1


async def test_what_a_process_raises_comes_after_its_values() -> None:
    """The item is not tried again; the process works on the next one."""
    node = Yields(run_in="process", on_error="collect", max_retries=3, max_workers=1)
    results = await ended(results_of(Read([("raise", 2), ("pid", 1)]) | node))
    assert isinstance(results[2], Outcome)
    assert isinstance(results[2].error, ConnectionError)
    assert results[2].attempts == 1
    assert len(results) == 4


async def test_a_process_that_dies_between_its_values_has_failed() -> None:
    """What it had yielded stays, and another process takes the next item."""
    node = Yields(run_in="process", on_error="collect", max_workers=1)
    results = await ended(results_of(Read([("die", 1), ("pid", 1)]) | node))
    assert [type(getattr(r, "error", r)) for r in results] == [int, WorkerDiedError, int]


async def test_a_timeout_of_a_process_counts_its_own_time_alone() -> None:
    """Not what it waits for room; when it runs over, the process is killed."""
    slow = Yields(run_in="process", timeout=5, on_error="collect")
    pipeline = Pipeline(Read([("", 4)]), slow, Stage(0.3), buffer=1)
    assert len(await ended(results_of(pipeline))) == 4
    late = Yields(run_in="process", timeout=0.5, on_error="collect")
    results = await ended(results_of(Read([("wait", 99)]) | late))
    assert isinstance(results[-1].error, AttemptTimeoutError)
    assert "timeout=0.5 s" in str(results[-1].error)
    assert len(results) < 9


async def test_a_value_that_cannot_be_sent_is_the_items_error(tmp_path: Path) -> None:
    """The generator is closed before the process takes the next item."""
    file = tmp_path / "steps"
    node = Locks(file)
    results = await ended(results_of(Read([0, 1]) | node))
    assert [type(result.error) for result in results] == [TypeError] * 2
    assert "closed" in file.read_text()


class Locks(Stage):
    """Yields what cannot be pickled."""

    run_in: Any = "process"
    on_error: Any = "collect"

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def exec(self, item: Any) -> Any:
        import threading

        try:
            while True:
                yield threading.Lock()
        finally:
            with self.file.open("a") as file:
                file.write("closed\n")
