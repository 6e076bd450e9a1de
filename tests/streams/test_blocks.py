"""Stages that work on many items in one call: what users see is that of single items."""

import asyncio
from contextlib import aclosing, suppress
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import AwaitedCancelledError, Graph, Node, Outcome, Pipeline, TooManyFailuresError
from kaygraph.node.blocks import DROPPED
from tests.blocks import SET, Commit, Lists, Work, arriving
from tests.clock import VIRTUAL, run_virtually
from tests.run.draining import Kept
from tests.stages import Read, Stage, results_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


async def drained(node: Any, at: float, shared: Any, **settings: Any) -> None:
    """Drain a run after so many seconds; nobody observes it."""
    task = node.launch(shared)
    await asyncio.sleep(at)
    task.drain(**settings)
    await task


def double(item: int) -> int:
    return item * 2


async def test_the_items_of_a_list_are_worked_on_together() -> None:
    """No item is worked on by itself, blocks grow, and the results have the input's order."""
    first, second = Work(double), Work(str)
    results = await results_of(Lists(range(100), [], range(100, 300)) | first | second)
    assert results == [str(number * 2) for number in range(300)]
    assert first.alone == second.alone == []
    assert [len(block) for block in first.blocks[:4]] == [1, 2, 4, 8]


async def test_a_stage_takes_up_what_lies_in_its_inbox() -> None:
    """Behind a stage of single items as well, and as far as its buffer holds them."""
    work = Work(double)
    results = await results_of(Pipeline(Read(range(100)), Stage(), work, Stage(), buffer=5))
    assert results == list(range(0, 200, 2))
    assert work.alone == []
    assert max(len(block) for block in work.blocks) <= 5


async def test_an_exec_of_a_subclass_is_called_for_each_item() -> None:
    """A user's exec gets one item; so does a function set in its place."""

    class Own(Work):
        async def exec(self, item: int) -> int:
            return item + 1

    async def negated(item: int) -> int:
        return -item

    own, replaced = Own(double), Work(double)
    replaced.exec = negated  # type: ignore[method-assign]
    assert await results_of(Lists([1, 2, 3]) | own | replaced) == [-2, -3, -4]
    assert own.blocks == replaced.blocks == []


async def test_a_setting_makes_each_item_one_by_itself() -> None:
    """Attempts, limits and observers are asked for between two items."""
    work, events = Work(double, max_retries=2), list[Any]()
    assert await results_of(Lists([1, 2]) | work) == [2, 4]
    assert work.alone == [1, 2]
    work = Work(double)
    await Graph(Lists([1, 2]) | work).run_async(observers=[events.append])
    assert work.alone == [1, 2]
    assert sum(type(event).__name__ == "ItemFinished" for event in events) == 4


async def test_a_subclass_reads_single_items_from_the_source() -> None:
    """What prep returns is an asynchronous generator of them, which closes the lists."""

    class Odd(Lists):
        __module__ = __name__

        async def prep(self, shared: Any) -> Any:  # type: ignore[override]
            async with aclosing(super().prep(shared)) as items:
                async for item in items:
                    if item > 3:
                        break
                    if item % 2:
                        yield item

    odd = Odd([1, 2, 3], [4, 5])
    assert await results_of(odd | Work(double)) == [2, 6]
    assert odd.closed


# --- errors ---------------------------------------------------------------------------------------


async def test_an_error_names_its_item_and_the_others_go_on() -> None:
    """Those before it are done, and those behind it go on, as on_error says."""
    source, work = Lists([1, 2, -3, 4, -5, 6], on_error="skip"), Work(double)
    assert await results_of(source | work) == [2, 4, 8, 12]
    assert source.report is not None
    assert (source.report.items, source.report.ok, source.report.skipped) == (6, 4, 2)
    with pytest.raises(LookupError, match="-3 is a bad row") as raised:
        await results_of(Lists([1, 2, -3, 4]) | Work(double))
    assert raised.value.__notes__ == ["in node 'Keeps/Lists', item 2 (-3)"]


async def test_an_error_of_a_later_stage_names_that_stage() -> None:
    """Also where one task works on all of them."""
    with pytest.raises(ZeroDivisionError) as raised:
        await results_of(Lists([1, 2, 0]) | Work(double) | Work(lambda i: 1 / i, name="divided"))
    assert raised.value.__notes__ == ["in node 'Keeps/divided', item 2 (0)"]
    many = Work(lambda i: 1 / i, name="divided", on_error=1)
    with pytest.raises(TooManyFailuresError) as several:
        await results_of(Lists([0, 0, 0]) | many)
    assert "Lists" not in "".join(getattr(several.value, "__notes__", ()))


async def test_an_error_of_the_source_names_the_source() -> None:
    """It does not belong to a later stage."""

    class Breaks(Lists):
        async def read(self) -> Any:
            yield [1]
            raise OSError("torn")

    with pytest.raises(OSError, match="torn") as raised:
        await results_of(Breaks(name="rows") | Work(double))
    assert raised.value.__notes__ == ["in node 'Keeps/rows'"]


async def test_outcomes_of_an_earlier_stage_go_past() -> None:
    """Each stands where its item stood, with its item, its index and its time."""
    work = Work(double)
    results = await results_of(Lists([1, -2, 3, -4], [5], on_error="collect") | work)
    assert [r if isinstance(r, int) else (r.index, r.item) for r in results] == [
        2, (1, -2), 6, (3, -4), 10,
    ]  # fmt: skip
    assert results[1].status == "failed"
    assert results[1].attempts == 1
    assert work.report is not None
    assert work.report.items == 3


async def test_what_is_left_out_is_skipped() -> None:
    """DROPPED in the place of a result counts as Drop does."""
    work = Work(lambda item: item if item % 2 else DROPPED)
    assert await results_of(Lists(range(10)) | work) == [1, 3, 5, 7, 9]
    assert work.report is not None
    assert (work.report.ok, work.report.skipped) == (5, 5)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(-3, 9), max_size=9), max_size=5),
    st.sampled_from(["skip", "collect"]),
    st.integers(1, 5),
    st.booleans(),
)
def test_blocks_and_single_items_come_to_the_same(
    lists: list[list[int]], on_error: str, buffer: int, alone: bool
) -> None:
    """Results and reports, whatever fails and whatever is left out."""

    def inverted(item: int) -> Any:
        return DROPPED if item == 5 else 60 // item

    def stages(retries: int) -> tuple[Any, ...]:
        settings: dict[str, Any] = {"on_error": on_error, "max_retries": retries}
        return Lists(*lists, **settings), Work(inverted, **settings), Work(double, **settings)

    async def outcome_of(stages: tuple[Any, ...]) -> Any:
        first = (Read(list(chain(*lists))), Stage()) if alone else ()
        chosen = (*first, *(stages[1:] if alone else stages))
        results = await results_of(Pipeline(*chosen, buffer=buffer))
        shown = [(r.index, r.status, r.item) if isinstance(r, Outcome) else r for r in results]
        reports = [
            (s.report.items, s.report.ok, s.report.skipped) for s in chosen if s.name != "Read"
        ]
        return shown, reports

    assert run_virtually(outcome_of(stages(1))) == run_virtually(outcome_of(stages(2)))


# --- a stream stays a stream ----------------------------------------------------------------------


async def test_a_slow_source_is_a_stream_of_single_items() -> None:
    """What it gives goes on before it gives more."""
    pipeline = Lists([1], [2], [3], seconds=1) | Work(double) | Work(double)
    times = [(item, asyncio.get_running_loop().time()) async for item in pipeline.stream({})]
    assert times == [(4, 1), (8, 2), (12, 3)]


async def test_slow_items_are_worked_on_one_by_one() -> None:
    """The first comes before the second is begun."""
    work = Work(double, seconds=1)
    pipeline = Lists(range(4)) | work
    times = [asyncio.get_running_loop().time() async for _ in pipeline.stream({})]
    assert times == [1, 2, 3, 4]


async def test_a_slow_reader_holds_up_the_source() -> None:
    """No more items are taken up than the buffer behind them holds."""
    work = Work(double)
    source = Lists(*([number] * 10 for number in range(10)))
    async with aclosing(Pipeline(source, work, buffer=3).stream({})) as results:
        assert await anext(results) == 0
        await asyncio.sleep(1)
        assert sum(map(len, work.blocks)) == 4
        assert source.given == 1
    assert source.closed


# --- limits, ends ---------------------------------------------------------------------------------


async def test_a_node_of_many_workers_has_as_many_items_in_one_call() -> None:
    """They are taken up while they come, and its report says what was asked for."""
    commit = Commit(1, max_workers=100)
    assert await results_of(Read(range(200)) | commit) == list(range(200))
    assert [len(block) for block in commit.blocks] == [100, 100]
    assert asyncio.get_running_loop().time() == pytest.approx(2, abs=0.1)
    assert commit.report is not None
    assert commit.report.workers == 100


async def test_items_that_come_slowly_do_not_wait_for_others() -> None:
    """A block is what is there."""
    commit = Commit(0, max_workers=100)
    await results_of(Read(arriving(range(3), 1)) | commit)
    assert commit.blocks == [[0], [1], [2]]


async def test_what_a_block_refuses_fails_alone() -> None:
    """Each with its own error, and its place in the stream."""
    commit = Commit(1, refused=(3, 5), on_error="collect", max_workers=10)
    results = await results_of(Read(range(8)) | commit | Stage())
    failed = [r for r in results if isinstance(r, Outcome)]
    assert [(r.index, str(r.error), r.seconds) for r in failed] == [
        (3, "3 is refused", 1), (5, "5 is refused", 1),
    ]  # fmt: skip
    assert len(results) == 8


async def test_a_context_variable_ends_with_its_item() -> None:
    """The item that sets it is the last that is worked on with others."""
    seen = []

    def bind(item: int) -> int:
        seen.append(SET.get())
        if item == 3:
            SET.set("3")
        return item

    first, second = Work(bind), Work(bind)
    assert await results_of(Lists(range(6)) | first | second) == list(range(6))
    assert seen == [""] * 12
    assert first.alone == second.alone == [4, 5]


async def test_a_swallowed_cancellation_ends_the_run() -> None:
    """Items after the one that swallowed it are not worked on."""
    done = []

    def swallows(item: int) -> int:
        done.append(item)
        task = asyncio.current_task()
        if item == 3 and task is not None:
            task.cancel()
        return item

    with pytest.raises(AwaitedCancelledError):  # nobody has cancelled the run
        await results_of(Lists(range(100)) | Work(swallows))
    assert done == [0, 1, 2, 3]


async def test_a_block_under_way_when_the_grace_ends_is_cancelled_item_by_item() -> None:
    """All of its items are counted, and what was done before is there."""
    commit, shared = Commit(10, max_workers=4), dict[str, Any]()
    line = Kept(Read(range(8)), commit, name="line")
    await drained(line, 15, shared, grace=1)
    assert shared["line"] == [0, 1, 2, 3]
    assert commit.report is not None
    assert (commit.report.ok, commit.report.cancelled) == (4, 4)


async def test_no_more_items_of_a_list_are_taken_up_when_a_run_drains() -> None:
    """Those that were are done; also where each is one by itself, and waits in a buffer."""
    for retries, done in ((1, [0, 2, 4]), (2, [0, 2, 4, 6])):
        source, work = Lists(range(100)), Work(double, seconds=1, max_retries=retries)
        line, shared = Kept(source, work, name="line", buffer=1), dict[str, Any]()
        await drained(line, 2.5, shared)
        assert shared["line"] == done
        assert source.closed


async def test_one_node_in_two_lines_at_once_works_for_one_of_them() -> None:
    """It has one permit, and while waiting for it holds none."""
    running = most = 0

    class Slow(Work):
        __module__ = Work.__module__

        async def exec(self, item: int) -> int:
            raise AssertionError

        async def exec_block(self, items: list[Any]) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(1)
            running -= 1
            return items

    a, b = Slow(double, name="a"), Slow(double, name="b")
    begin: Node[Any, Any] = Node()
    begin >> [Lists(range(3)) | a | b, Lists(range(3)) | b | a]
    await Graph(begin).run_async({})
    assert most == 1


async def test_leaving_a_stream_early_closes_the_source() -> None:
    """Also in the middle of a list."""
    source = Lists(range(10), range(10))
    with suppress(StopAsyncIteration):
        async with aclosing((source | Work(double)).stream({})) as results:
            assert await anext(results) == 0
    assert source.closed
