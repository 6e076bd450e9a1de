"""Nodes whose exec runs once per item: what prep may return, order, on_error, stream."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    BatchNode,
    Graph,
    ItemStarted,
    NodeDefinitionError,
    Outcome,
    ParallelBatchNode,
)
from tests.batch.batches import Batch, results_of
from tests.calls import Gauge
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


# --- what prep may return ---


class Sequence:
    """The old way to be iterable."""

    def __getitem__(self, index: int) -> int:
        return [1, 2, 3][index]


class Rows:
    """An async iterable that is not a generator."""

    def __aiter__(self) -> AsyncIterator[int]:
        return numbers()


async def numbers() -> AsyncIterator[int]:
    for number in (1, 2, 3):
        await asyncio.sleep(1)
        yield number


@pytest.mark.parametrize(
    "items",
    [
        lambda: [1, 2, 3],
        lambda: (1, 2, 3),
        lambda: range(1, 4),
        lambda: {1: "a", 2: "b", 3: "c"}.keys(),
        lambda: iter([1, 2, 3]),
        lambda: (number for number in (1, 2, 3)),
        lambda: map(int, "123"),
        numbers,
        Rows,
        Sequence,
    ],
)
async def test_prep_may_return_any_iterable_or_async_iterable(items: Any) -> None:
    """Lists, iterators, generators, async ones: all give the same results, in order."""
    assert await results_of(items()) == [10, 20, 30]


async def test_prep_may_be_async_or_a_generator_itself() -> None:
    """An `async def` prep is awaited; one that yields is the source."""

    class Awaited(Batch):
        async def prep(self, _: Any) -> Any:
            await asyncio.sleep(1)
            return [1, 2]

    class Yields(Batch):
        def prep(self, _: Any) -> Iterator[int]:
            yield 1
            yield 2

    class AsyncYields(Batch):
        async def prep(self, _: Any) -> AsyncIterator[int]:
            yield 1
            yield 2

    for node in (Awaited(), Yields(), AsyncYields()):
        shared: dict[str, Any] = {}
        await node.run_async(shared)
        assert shared["results"] == [10, 20], node


@pytest.mark.parametrize("items", [[], (), iter(()), {}.items()])
async def test_no_items_give_no_results(items: Any) -> None:
    """post is called with an empty list."""
    assert await results_of(items) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("abc", r"returned a str: return \[text\] for one item, list\(text\) or"),
        (b"abc", "returned a bytes: return .text. for one"),
        ({1: "a"}, r"returned a dict: return items.items\(\) for its pairs"),
    ],
)
async def test_what_is_rather_one_item_than_several_is_refused(given: Any, message: str) -> None:
    """A batch of letters, or of keys, is what nobody has meant; at the head of a pipeline too."""

    class First(BatchNode[Any, Any]):
        def prep(self, shared: Any, /) -> Any:
            return given

    for node in (First(), First() | BatchNode()):
        with pytest.raises(TypeError, match=f"prep of '.*First' {message}"):
            await node.run_async()


async def test_a_batch_without_a_prep_is_refused_and_a_later_stage_is_not() -> None:
    """It has no items of its own; a stage gets those of the stage before."""

    class Double(ParallelBatchNode[int, int]):
        async def exec(self, number: int, /) -> int:
            return number * 2

    class Numbers(BatchNode[int, int]):
        def prep(self, shared: Any, /) -> Any:
            return [1, 2]

    for node in (Double(), Double() | Double()):
        with pytest.raises(NodeDefinitionError, match=r"Double' has no items: define prep\(self"):
            await node.run_async()
    results = [result async for result in (Numbers() | Double() | Double()).stream()]
    assert results == [4, 8]
    patched = Double()
    patched.prep = lambda shared: [3]  # type: ignore[method-assign]
    assert [outcome.value async for outcome in patched.stream()] == [6]


async def test_a_prep_that_returns_no_items_is_refused_by_name() -> None:
    """A number is no iterable: the error names the node and what it got."""
    with pytest.raises(TypeError, match=r"prep of 'Batch' must return an iterable .* got int"):
        await results_of(7)
    with pytest.raises(TypeError, match=r"got None: end it with 'return items'"):
        await results_of(None)


async def test_a_list_that_grows_is_worked_to_its_end() -> None:
    """The source is pulled lazily: what is added while the batch runs is worked on too."""

    class Crawl(Batch):
        async def exec(self, item: int) -> int:
            if item < 5:
                items.append(item + 1)
            return item

    items = [0]
    shared: dict[str, Any] = {"items": items}
    await Crawl(max_workers=1).run_async(shared)
    assert shared["results"] == [0, 1, 2, 3, 4, 5]


# --- order ---


async def test_results_come_in_the_order_of_the_input() -> None:
    """Whichever item ends first."""
    assert await results_of([1, 2, 3, 4, 5]) == [10, 20, 30, 40, 50]


async def test_unordered_results_come_as_they_finish() -> None:
    """ordered=False has to be asked for."""
    assert await results_of([1, 2, 3, 4, 5], ordered=False) == [50, 40, 30, 20, 10]


async def test_post_gets_what_prep_returned() -> None:
    """prep_res is the object itself."""

    class Keeps(Batch):
        def post(self, shared: Any, items: Any, _: Any) -> None:
            shared["same"] = items is shared["items"]

    shared: dict[str, Any] = {"items": [1]}
    await Keeps().run_async(shared)
    assert shared["same"]


async def test_a_batch_node_works_one_item_after_another() -> None:
    """BatchNode never has two items in flight."""

    class Serial(BatchNode[Any, Any]):
        def prep(self, _: Any) -> range:
            return range(4)

        async def exec(self, item: int) -> None:
            order.append(("begin", item))
            await asyncio.sleep(4 - item)
            order.append(("end", item))

    order: list[tuple[str, int]] = []
    await Serial().run_async({})
    assert order == [(what, item) for item in range(4) for what in ("begin", "end")]


@pytest.mark.parametrize("workers", [1, 2, 7, 10])
async def test_as_many_items_run_at_once_as_there_are_workers(workers: int) -> None:
    """The workers are all used, and never exceeded."""

    class Counts(Batch):
        async def exec(self, item: int) -> None:
            await gauge(1)

    gauge = Gauge()
    settings = {} if workers == 10 else {"max_workers": workers}  # ten by default
    shared: dict[str, Any] = {"items": range(40)}
    await Counts(**settings).run_async(shared)
    assert gauge.most == workers
    assert asyncio.get_running_loop().time() == pytest.approx(-(-40 // workers))


async def test_the_same_node_runs_many_times_at_once() -> None:
    """A node is not changed by a run."""
    node = Batch(max_workers=3)
    stores: list[dict[str, Any]] = [{"items": [n, n + 1]} for n in range(1, 6)]
    await asyncio.gather(*(node.run_async(shared) for shared in stores))
    assert [shared["results"] for shared in stores] == [[n * 10, n * 10 + 10] for n in range(1, 6)]


# --- settings ---


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "3", None])
def test_max_workers_that_cannot_work_are_refused(value: Any) -> None:
    """An unknown keyword, a zero, a negative or a bool is refused at construction."""
    with pytest.raises(ValueError, match="max_workers must be"):
        Batch(max_workers=value)


def test_an_unknown_setting_is_refused_with_the_nearest_one() -> None:
    """A typo is a TypeError that says what was meant."""
    with pytest.raises(TypeError, match="Did you mean 'max_workers'"):
        Batch(max_worker=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown setting 'max_workers'"):
        BatchNode(max_workers=3)  # type: ignore[call-arg]


def test_a_class_attribute_is_checked_as_a_keyword_is() -> None:
    """A subclass that sets a setting wrongly cannot be defined."""
    with pytest.raises(ValueError, match="max_workers must be at least 1, got 0"):

        class Wrong(ParallelBatchNode[Any, Any]):
            max_workers = 0


# --- the fallback ---


async def test_the_fallback_stands_in_per_item() -> None:
    """Only the items that failed get it, each with its own error."""

    class Saved(Batch):
        def exec_fallback(self, item: int, error: Exception) -> Any:
            return (item, str(error))

    shared: dict[str, Any] = {"items": [1, -1, 2, -2]}
    await Saved(max_retries=2).run_async(shared)
    assert shared["results"] == [10, (-1, "-1"), 20, (-2, "-2")]


# --- stream ---


async def test_a_stream_gives_outcomes_as_items_finish() -> None:
    """The quickest first; each says which item it was."""
    node, got = Batch(max_workers=5, on_error="collect"), list[Outcome[Any]]()
    async with aclosing(node.stream({"items": [1, 0, 3, -1, 5]})) as outcomes:
        async for outcome in outcomes:
            got.append(outcome)
    assert [outcome.item for outcome in got] == [5, 3, 1, 0, -1]
    assert [outcome.index for outcome in got] == [4, 2, 0, 1, 3]
    assert [outcome.status for outcome in got] == ["ok", "ok", "ok", "skipped", "failed"]
    assert [outcome.value for outcome in got] == [50, 30, 10, None, None]


async def test_an_outcome_is_there_before_the_last_item_is_done() -> None:
    """The first outcome does not wait for the others."""
    async with aclosing(Batch(max_workers=2).stream({"items": [-990, 9]})) as outcomes:
        first = await anext(outcomes)
        assert first.item == 9
        assert asyncio.get_running_loop().time() == pytest.approx(1)


async def test_a_failure_ends_a_stream_that_raises() -> None:
    """With on_error="raise" the outcomes so far come first, then the error."""
    async with aclosing(Batch(max_workers=1).stream({"items": [1, 2, -1, 3]})) as outcomes:
        assert [(await anext(outcomes)).value for _ in range(2)] == [10, 20]
        with pytest.raises(ValueError, match="-1"):
            await anext(outcomes)


async def test_a_stream_names_a_prep_that_is_not_a_coroutine_function() -> None:
    """As a run does, and nothing is left that was never awaited."""

    class Returns(Batch):
        def prep(self, _: Any) -> Any:
            return asyncio.sleep(1)

    async with aclosing(Returns().stream()) as outcomes:
        with pytest.raises(NodeDefinitionError, match="prep of Returns is written 'def'"):
            await anext(outcomes)


async def test_a_stream_does_not_call_post() -> None:
    """Its reader gets the results instead."""
    shared: dict[str, Any] = {"items": [1]}
    async with aclosing(Batch().stream(shared)) as outcomes:
        assert [outcome.value async for outcome in outcomes] == [10]
    assert "results" not in shared


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("items", [1, 4, 5, 11])
@pytest.mark.parametrize("pause", [0, 1, 100])
async def test_a_stream_ends_whatever_the_readers_speed(
    workers: int, items: int, pause: int
) -> None:
    """A reader slower or faster than the workers gets every outcome, and the end."""
    got = []
    async with aclosing(Batch(max_workers=workers).stream({"items": [5] * items})) as outcomes:
        async for outcome in outcomes:
            got.append(outcome.index)
            await asyncio.sleep(pause)
    assert sorted(got) == list(range(items))


async def test_the_parameters_of_a_round_reach_every_item() -> None:
    """A batch inside of a BatchGraph knows self.params in each exec."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return [{"factor": factor} for factor in (1, 2, 3)]

    class Times(Batch):
        async def exec(self, item: int) -> int:
            await asyncio.sleep(item)
            factor: int = self.params["factor"]
            return item * factor

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared[self.params["factor"]] = results

    shared: dict[Any, Any] = {"items": [3, 2, 1]}
    await Graph(Rounds(Times(), max_workers=3)).run_async(shared)
    assert {factor: shared[factor] for factor in (1, 2, 3)} == {
        1: [3, 2, 1],
        2: [6, 4, 2],
        3: [9, 6, 3],
    }


async def test_items_are_numbered_in_the_order_of_the_input() -> None:
    """Events name the item's place in the input and a worker of the node."""
    events: list[Any] = []
    await Batch(max_workers=3).run_async({"items": [1] * 9}, observers=[events.append])
    started = [event for event in events if isinstance(event, ItemStarted)]
    assert [event.item for event in started] == list(range(9))
    assert {event.worker for event in started} == {0, 1, 2}
