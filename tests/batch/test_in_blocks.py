"""Batches of nodes that work on many items in one call: what users see is that of single items."""

import asyncio
import time
from collections.abc import Iterator
from contextvars import ContextVar
from itertools import chain, count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import (
    AwaitedCancelledError,
    BatchGraph,
    Outcome,
    TooManyFailuresError,
)
from kaygraph.errors import RAISED_STOP
from kaygraph.node.blocks import DROPPED
from kaygraph.testing import capture_events
from tests.blocks import OURS, SET, Commit, Lists, Work, arriving
from tests.clock import VIRTUAL, run_virtually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Batch(Work):
    """Work on items of its own."""

    def __init__(self, function: Any, items: Any, **settings: Any) -> None:
        super().__init__(function, **settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        return self.items


async def results_of(node: Any) -> Any:
    await node.run_async({})
    return node.report  # what its post got


def double(item: int) -> int:
    return item * 2


async def test_the_items_of_lists_and_of_iterators_are_worked_on_together() -> None:
    """None by itself, in the order of the input."""
    assert await results_of(Lists(range(3), [], range(3, 2000))) == list(range(2000))
    batch = Batch(double, range(2000))
    assert await results_of(batch) == list(range(0, 4000, 2))
    assert batch.alone == []
    assert [len(block) for block in batch.blocks[:4]] == [1, 2, 4, 8]


@pytest.mark.parametrize("bad", [0, 5, 999])
async def test_an_item_whose_function_raises_stop_iteration_fails(bad: int) -> None:
    """Which ends what gives the results, so that none would come for the items behind it."""
    called: list[int] = []

    def changed(item: int) -> int:
        called.append(item)
        return next(iter(())) if item == bad else item

    results = await results_of(Batch(changed, range(1000), on_error="collect"))
    assert isinstance(results[bad], Outcome)
    assert str(results[bad].error) == RAISED_STOP
    assert results[:bad] + results[bad + 1 :] == [item for item in range(1000) if item != bad]
    assert called == list(range(1000))


async def test_items_that_come_asynchronously_are_worked_on_as_they_come() -> None:
    """There is nothing to wait for."""
    batch = Batch(double, arriving(range(3), 1))
    assert await results_of(batch) == [0, 2, 4]
    assert batch.alone == [0, 1, 2]


async def test_several_workers_have_as_many_items_in_one_call() -> None:
    """In a second each time."""
    commit = Commit(1, max_workers=40)
    commit.prep = lambda _: range(100)  # type: ignore[method-assign,assignment,misc]
    assert await results_of(commit) == list(range(100))
    assert [len(block) for block in commit.blocks] == [40, 40, 20]


async def test_a_stream_and_an_observer_see_each_item() -> None:
    """Each has its outcome and its events."""
    outcomes = [outcome async for outcome in Batch(double, range(3)).stream({})]
    assert [outcome.value for outcome in outcomes] == [0, 2, 4]
    with capture_events() as events:
        await results_of(Batch(double, range(3)))
    assert sum(type(event).__name__ == "ItemFinished" for event in events) == 3


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(-3, 9), max_size=20), max_size=5),
    st.sampled_from(["raise", "skip", "collect", 1, 3, 0.2]),
)
def test_blocks_and_single_items_come_to_the_same(lists: Any, on_error: Any) -> None:
    """Results and errors, whatever fails and whatever is left out."""

    def inverted(item: int) -> Any:
        return DROPPED if item == 5 else 60 // item

    async def outcome_of(node: Any) -> Any:
        try:
            results = await results_of(node)
        except (ZeroDivisionError, LookupError, TooManyFailuresError) as error:
            return repr(error), getattr(error, "__notes__", None)
        return [(r.index, r.status, r.item) if isinstance(r, Outcome) else r for r in results]

    items = list(chain(*lists))
    for make in (
        lambda **settings: Lists(*lists, on_error=on_error, **settings),
        lambda **settings: Batch(inverted, items, on_error=on_error, **settings),
    ):
        assert run_virtually(outcome_of(make())) == run_virtually(
            outcome_of(make(max_retries=1, retry=None, timeout=9))
        )


async def test_items_before_an_error_of_the_source_are_worked_on() -> None:
    """Then it is raised, with the name of the node."""

    def read() -> Iterator[int]:
        yield from range(10)
        raise OSError("torn")

    batch = Batch(double, read())
    with pytest.raises(OSError, match="torn") as raised:
        await results_of(batch)
    assert [item for block in batch.blocks for item in block] == list(range(10))
    assert raised.value.__notes__ == ["in node 'Batch'"]


@pytest.mark.parametrize("of_lists", [True, False])
async def test_no_more_items_are_taken_up_when_a_run_drains(of_lists: bool) -> None:
    """Those that were are done, and the source is closed."""
    if of_lists:
        batch: Any = SlowLists(range(10), range(10))
    else:
        batch = Batch(double, count(), seconds=1)
    task = batch.launch({})
    await asyncio.sleep(2.5)
    task.drain()
    await task
    assert batch.report == ([0, 1, 2] if of_lists else [0, 2, 4])


class SlowLists(Lists):
    """A second an item."""

    __module__ = Lists.__module__

    async def exec(self, item: Any) -> Any:
        raise AssertionError

    async def exec_block(self, items: list[Any]) -> list[Any]:
        await asyncio.sleep(len(items))
        return items


async def test_what_was_done_when_the_grace_ended_is_returned() -> None:
    """What was in flight is cancelled."""
    batch = Batch(double, count(), seconds=5)
    task = batch.launch({})
    await asyncio.sleep(12)
    task.drain(grace=1)
    await task
    assert batch.report == [0, 2]


async def test_a_context_variable_ends_with_its_item() -> None:
    """The item that sets it is the last that is worked on with others."""
    seen = []

    def bind(item: int) -> int:
        seen.append(SET.get())
        if item == 3:
            SET.set("3")
        return item

    batch = Batch(bind, range(6))
    assert await results_of(batch) == list(range(6))
    assert seen == [""] * 6
    assert batch.alone == [4, 5]
    assert SET.get() == ""


async def test_items_run_alone_after_one_that_failed_and_left_a_context_variable() -> None:
    """The failed item is counted once, and so is one that fails by itself later."""
    seen = []

    def bind(item: int) -> int:
        seen.append(SET.get())
        if item == 3:
            SET.set("3")
        if item in (3, 5):
            raise ValueError(item)
        return item

    batch = Batch(bind, range(7), on_error="collect")
    results = await results_of(batch)
    failed = [(one.index, str(one.error)) for one in results if isinstance(one, Outcome)]
    assert failed == [(3, "3"), (5, "5")]
    assert [one for one in results if not isinstance(one, Outcome)] == [0, 1, 2, 4, 6]
    assert seen == [""] * 7
    assert batch.alone == [4, 5, 6]


async def test_a_context_variable_whose_values_cannot_be_compared_counts_as_changed() -> None:
    """As with an array: the items behind it run alone, and do not see it."""

    class Array:
        def __eq__(self, other: object) -> Any:
            raise ValueError("the truth value of an array is ambiguous")

    variable: ContextVar[Array] = ContextVar("variable")
    first, seen = Array(), list[bool]()

    def bind(item: int) -> int:
        seen.append(variable.get() is first)
        if item == 3:
            variable.set(Array())
        return item

    variable.set(first)
    batch = Batch(bind, range(6))
    assert await results_of(batch) == list(range(6))
    assert seen == [True] * 6
    assert batch.alone == [4, 5]


@pytest.mark.parametrize("cancelled", [True, False])
async def test_an_error_of_the_call_is_that_of_its_first_item(cancelled: bool) -> None:
    """The others run in a further call, also if something that was awaited had been cancelled."""

    class Refuses(Batch):
        __module__ = OURS

        async def exec(self, item: Any) -> Any:
            raise AssertionError

        async def exec_block(self, items: list[Any]) -> Iterator[Any]:
            blocks = await super().exec_block(items)
            if items[0] != 3:
                return blocks
            if cancelled:
                future = asyncio.get_running_loop().create_future()
                future.cancel()
                await future
            raise OSError("refused")

    batch = Refuses(double, range(12), on_error="collect")
    results = await results_of(batch)
    assert [3, 4, 5, 6] in batch.blocks
    (outcome,) = [one for one in results if isinstance(one, Outcome)]
    assert (outcome.index, outcome.item) == (3, 3)
    assert isinstance(outcome.error, AwaitedCancelledError if cancelled else OSError)
    assert results[:3] + results[4:] == [item * 2 for item in range(12) if item != 3]


async def test_rounds_take_turns_where_they_share_a_worker() -> None:
    """A round gives the worker back after each call if another one waits for it."""

    class Shared(Work):
        def prep(self, _: Any) -> Any:
            return [self.params["round"] + item for item in range(3)]

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"round": 10}, {"round": 20}]

    work = Shared(double, seconds=1)
    await Rounds(work, max_workers=2).run_async({})
    assert [*chain(*work.blocks)] == [10, 20, 11, 21, 12, 22]


def test_other_tasks_have_their_turn() -> None:
    """After a millisecond of work, though nothing suspends."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def both() -> None:
        task = asyncio.create_task(count_turns())
        await results_of(Batch(lambda _: time.sleep(0.002), range(10)))
        task.cancel()

    asyncio.run(both())
    assert turns >= 5
