"""Items of a stage that wait for their next attempt or for a key: meanwhile the others go on."""

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from kaygraph import Graph, Node, Pipeline, Retry
from kaygraph.testing import assert_accounted, simulate
from tests.clock import VIRTUAL
from tests.run.draining import Kept, drained
from tests.stages import Read, Stage

pytestmark = pytest.mark.anyio

AGAIN = Retry(attempts=2, wait=60)


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Busy(Stage):
    """A second an item; some fail, the first time."""

    def __init__(self, come_again: Any = (), **settings: Any) -> None:
        super().__init__(1, **settings)
        self.come_again = come_again

    async def exec(self, item: Any) -> Any:
        if item in self.come_again and self.attempt == 1:
            raise LookupError(f"{item}: come again")
        return await super().exec(item)


def played(*stages: Node[Any, Any], buffer: int = 64) -> tuple[float, Any]:
    """Run a pipeline on a virtual clock; return when it has ended, and what it hands on."""
    shared: dict[str, Any] = {}
    run = simulate(Graph(Kept(*stages, buffer=buffer, name="line")), shared)
    assert not run.left
    assert_accounted(run.events)
    return run.seconds, shared["line"]


def test_a_stage_goes_on_while_items_wait_and_keeps_their_order() -> None:
    """Both workers' items come again after a minute: ten others are done by then."""
    busy, after = Busy((0, 1), max_workers=2, retry=AGAIN), Busy(name="after")
    seconds, results = played(Read(range(12)), busy, after)
    assert busy.ended[:10] == list(range(2, 12))
    assert results == list(range(12))
    assert seconds == 60 + 1 + 12


def test_without_order_results_go_on_as_they_come() -> None:
    """What waits holds up no stage behind it."""
    busy, after = Busy((0, 1), max_workers=2, ordered=False, retry=AGAIN), Busy(name="after")
    seconds, results = played(Read(range(12)), busy, after)
    assert results[:10] == list(range(2, 12))
    assert seconds == 63


def test_the_first_in_order_lets_as_many_go_on_as_the_buffer_holds() -> None:
    """Item 0 waits: those behind it are done as far as they can wait for their turn."""
    busy = Busy((0,), max_workers=2, retry=AGAIN)
    done: list[int] = []

    async def look(shared: Any) -> None:
        run = asyncio.ensure_future(Graph(Pipeline(Read(count()), busy, buffer=5)).run_async({}))
        await asyncio.sleep(50)
        done.append(len(busy.ended))
        run.cancel()
        await asyncio.wait([run])

    assert not simulate(look, {}).left
    assert done == [4]


@pytest.mark.parametrize("settings", [{"max_workers": 1}, {"max_waiting": 0}])
def test_a_stage_without_max_waiting_holds_up_those_behind(settings: Any) -> None:
    """With one worker, or where none may wait."""
    busy = Busy((0, 1), **{"max_workers": 2, **settings}, retry=AGAIN)
    seconds, results = played(Read(range(12)), busy)
    assert results == list(range(12))
    assert seconds > 60 + 5


def test_any_other_node_works_on_one_item_after_another() -> None:
    """A plain node as a stage: an item that waits holds up the next."""

    class Plain(Node[Any, Any]):
        async def exec(self, item: int) -> int:
            begun.append(item)
            if item == 0 and self.attempt == 1:
                raise LookupError
            return item

    begun: list[int] = []
    played(Read(range(3)), Plain(retry=AGAIN))
    assert begun == [0, 0, 1, 2]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("workers", [2, 4])
def test_a_stage_looks_past_a_key_that_is_full(ordered: bool, workers: int) -> None:
    """As far as the order lets it: a hundred of one key, then a hundred of another."""
    busy = Busy(max_workers=workers, limit_by=str, ordered=ordered)
    assert played(Read(["a"] * 100 + ["b"] * 100), busy, buffer=200)[0] == 100
    assert busy.report is not None
    assert busy.report.busy_s == 200


def test_one_worker_goes_on_with_others_with_max_waiting_and_keeps_the_order() -> None:
    """With ``max_waiting``, still one at a time."""
    busy = Busy((0,), max_workers=1, max_waiting=10, retry=AGAIN)
    seconds, results = played(Read(range(5)), busy)
    assert (seconds, results) == (61, [0, 1, 2, 3, 4])
    assert busy.ended == [1, 2, 3, 4, 0]


def test_values_of_items_that_wait_go_on_in_their_order() -> None:
    """An exec that yields; every third item comes again before it has yielded anything."""

    class Yields(Busy):
        async def exec(self, item: int) -> Any:  # type: ignore[override]
            if item % 3 == 0 and self.attempt == 1:
                raise LookupError
            for number in range(3):
                await asyncio.sleep(1)
                yield item * 3 + number

    stage = Yields(max_workers=2, retry=Retry(attempts=2, wait=5))
    _, results = played(Read(range(20)), stage, buffer=6)
    assert results == list(range(60))


def test_there_is_no_worker_too_many() -> None:
    """Eight have waited, been replaced and come back; then there are three workers again."""
    tasks: list[int] = []

    class Counts(Busy):
        async def exec(self, item: int) -> int:
            tasks.append(len(asyncio.all_tasks()))
            return await super().exec(item)

    played(Read(range(90)), Counts(range(8), max_workers=3, retry=Retry(attempts=2, wait=5)))
    assert max(tasks) >= 8 + 3
    assert max(tasks[-10:]) <= 3 + 3  # the run's own, and that of the source


def test_what_items_wait_is_not_time_of_work() -> None:
    """``busy_s`` is that of calls; it does not grow with those that wait."""
    busy = Busy(range(8), max_workers=2, retry=AGAIN)
    played(Read(range(20)), busy)
    assert busy.report is not None
    assert busy.report.busy_s == 20
    assert busy.report.workers == 2


async def test_a_drain_waits_for_those_that_wait() -> None:
    """What was read comes to its end, and no more is read."""
    pulled: list[int] = []

    def source() -> Iterator[int]:
        for item in count():
            pulled.append(item)
            yield item

    busy = Busy((0, 1), max_workers=2, retry=AGAIN)
    node = Kept(Read(source()), busy, buffer=3, name="line")
    await drained(node, 2.5, shared := {})
    assert shared["line"] == pulled
    assert asyncio.get_running_loop().time() >= 61


async def test_a_failure_ends_the_waits_of_a_stage() -> None:
    """Nobody waits out the minute."""

    class Fails(Busy):
        async def exec(self, item: int) -> int:
            if item == 5:
                raise ValueError("for good")
            return await super().exec(item)

    retry = Retry(attempts=2, wait=60, on=LookupError)
    with pytest.raises(ValueError, match="for good"):
        await Pipeline(Read(range(9)), Fails(range(5), max_workers=2, retry=retry)).run_async({})
    assert asyncio.get_running_loop().time() == 0
