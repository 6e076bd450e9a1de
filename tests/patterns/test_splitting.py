"""Chunks: how items are split, and how the results of chunks are combined."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaygraph import Graph, Node, Outcome, ParallelBatchNode, Pipeline
from kaygraph.patterns import AggregationNode, BatchSplitterNode
from kaygraph.patterns.splitting import Aggregation
from kaygraph.run.frame import FRAME
from kaygraph.testing import cancel_everywhere, simulate

pytestmark = pytest.mark.anyio

WAYS = st.sampled_from(["size", "count", "max_bytes"])


def cut(items: Any, **way: Any) -> list[list[Any]]:
    return list(BatchSplitterNode(**way).chunks_of(items))


@given(st.lists(st.text(max_size=9)), WAYS, st.integers(1, 20))
def test_chunks_hold_every_item_once_and_in_order(items: list[str], way: str, most: int) -> None:
    """However they are split, none is empty, and no chunk is larger than requested."""
    chunks = cut(items, **{way: most})
    assert [item for chunk in chunks for item in chunk] == items
    assert all(chunks)
    if way == "size":
        assert [len(chunk) for chunk in chunks[:-1]] == [most] * (len(chunks) - 1)
    elif way == "count":
        assert len(chunks) == min(most, len(items))
        assert not chunks or max(map(len, chunks)) - min(map(len, chunks)) <= 1
    else:
        sizes = [sum(len(item.encode()) for item in chunk) for chunk in chunks]
        assert all(size <= most or len(c) == 1 for size, c in zip(sizes, chunks, strict=True))


@pytest.mark.parametrize(
    ("items", "count", "lengths"), [(7, 3, [3, 2, 2]), (4, 2, [2, 2]), (2, 3, [1, 1]), (0, 3, [])]
)
def test_a_number_of_chunks_is_even(items: int, count: int, lengths: list[int]) -> None:
    """The larger ones come first, and none is empty."""
    assert [len(chunk) for chunk in cut(range(items), count=count)] == lengths


@given(st.lists(st.integers(), max_size=30), st.sampled_from(["size", "max_bytes"]))
def test_an_async_iterable_is_cut_as_any_other(items: list[int], way: str) -> None:
    """The same chunks, one by one."""

    async def later() -> AsyncIterator[int]:
        for item in items:
            yield item

    arguments: dict[str, Any] = {way: 3}

    async def gathered() -> list[list[int]]:
        return [chunk async for chunk in BatchSplitterNode(**arguments).chunks_of(later())]

    assert asyncio.run(gathered()) == cut(items, **{way: 3})


@pytest.mark.parametrize(
    ("item", "bytes_"),
    [("é", 2), (b"abc", 3), (memoryview(b"ab"), 2), ({"a": [1, "é"]}, 14), (12, 2)],
)
def test_an_item_counts_for_its_bytes(item: Any, bytes_: int) -> None:
    """In UTF-8, or in compact JSON."""
    assert BatchSplitterNode(max_bytes=1).size_of(item) == bytes_


def test_the_bytes_of_an_item_may_be_set() -> None:
    """By a callable, or by a method."""

    class ByLength(BatchSplitterNode):
        max_bytes = 4

        def size_of(self, item: Any, /) -> int:
            return int(item[1])

    items = [("a", 3), ("b", 2), ("c", 2), ("d", 9)]
    expected = [[("a", 3)], [("b", 2), ("c", 2)], [("d", 9)]]
    assert list(ByLength().chunks_of(items)) == expected
    assert cut(items, max_bytes=4, size_of=lambda item: item[1]) == expected


def test_an_item_of_unknown_bytes_is_an_error() -> None:
    """With what to give."""
    with pytest.raises(TypeError, match="a object is unknown: pass size_of=function"):
        cut([object()], max_bytes=4)


@pytest.mark.parametrize("size", [None, "7", -1, float("nan")])
def test_bytes_that_are_none_are_an_error(size: Any) -> None:
    """They would fill no chunk."""
    message = f"size_of of 'BatchSplitterNode' returned {size!r}: return how many bytes"
    with pytest.raises(TypeError, match=message):
        cut([1, 2], max_bytes=4, size_of=lambda item: size)


def test_items_are_read_when_a_chunk_is_asked_for() -> None:
    """And no further: an endless source is one that can be cut."""
    read: list[int] = []

    def endless() -> Iterator[int]:
        try:
            while True:
                read.append(len(read))
                yield read[-1]
        finally:
            read.append(-1)

    source = endless()
    chunks = iter(BatchSplitterNode(size=2).chunks_of(source))
    assert read == []
    assert next(chunks) == [0, 1]
    assert read == [0, 1]
    chunks.close()
    assert read == [0, 1, -1]


def test_an_async_source_is_closed_with_the_chunks() -> None:
    """When it is not read to its end, and at once."""
    closed = []

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    async def some() -> None:
        source = endless()
        chunks = aiter(BatchSplitterNode(size=2).chunks_of(source))
        assert await anext(chunks) == [1, 1]
        await chunks.aclose()
        assert closed

    asyncio.run(some())


def test_a_number_of_chunks_needs_a_length() -> None:
    """Said before anything is read."""
    with pytest.raises(TypeError, match=r"a generator has none: use size= or list\(items\)"):
        cut((n for n in range(3)), count=2)


@pytest.mark.parametrize("items", ["text", b"bytes", {"a": 1}, None, 7])
def test_what_holds_no_items_is_refused(items: Any) -> None:
    """Nobody wants the letters of a text in chunks."""
    with pytest.raises(TypeError, match="'BatchSplitterNode' cuts an iterable"):
        cut(items, size=2)


@pytest.mark.parametrize("ways", [{}, {"size": 1, "count": 2}])
def test_one_way_to_cut_is_needed(ways: Any) -> None:
    """Neither none, nor two."""
    with pytest.raises(TypeError, match="needs one of size=, count= and max_bytes="):
        BatchSplitterNode(**ways)


def test_what_is_given_stands_above_what_the_class_says() -> None:
    """A class that splits by size may be given a count."""

    class Pairs(BatchSplitterNode):
        size = 2

    assert list(Pairs().chunks_of([1, 2, 3])) == [[1, 2], [3]]
    assert list(Pairs(count=1).chunks_of([1, 2, 3])) == [[1, 2, 3]]


class Double(ParallelBatchNode[list[int], list[int]]):
    """Doubles the numbers of a chunk; a chunk takes as many seconds as its first number says."""

    max_workers = 2
    on_error = "collect"

    def prep(self, shared: Any) -> Any:
        return shared.get("chunks", ())

    async def exec(self, chunk: list[int], /) -> list[int]:
        await asyncio.sleep(chunk[0])
        if 13 in chunk:
            raise ValueError("13")
        return [2 * number for number in chunk]

    def post(self, shared: Any, chunks: Any, results: Any) -> None:
        shared["results"] = results


def stream() -> Any:
    split = BatchSplitterNode(reads="numbers", size=2)
    return split | Double() | AggregationNode(writes="done")


def line() -> Any:
    split = BatchSplitterNode(reads="numbers", writes="chunks", size=2)
    return split >> Double() >> AggregationNode(reads="results", writes="done")


@pytest.mark.parametrize("make", [stream, line])
def test_chunks_are_worked_on_at_once_and_come_together_in_order(make: Any) -> None:
    """As a stream and as a line; quick chunks are pulled while a slow one continues."""
    run = simulate(Graph(make()), {"numbers": [4, 0, 1, 0, 1, 0, 1, 0, 1, 0]})
    assert run.shared["done"] == Aggregation([8, 0, 2, 0, 2, 0, 2, 0, 2, 0], ())
    assert run.shared["done"].complete
    assert run.seconds == 4.0


@pytest.mark.parametrize("make", [stream, line])
def test_failed_chunks_are_accounted_for(make: Any) -> None:
    """Next to the value, with the chunk and its error."""
    done = simulate(Graph(make()), {"numbers": [1, 2, 1, 13, 1]}).shared["done"]
    assert done.value == [2, 4, 2]
    assert not done.complete
    (failure,) = done.failures
    assert (failure.index, failure.item, str(failure.error)) == (1, [1, 13], "13")


def test_value_and_failures_may_be_stored_apart() -> None:
    """By two keys."""
    failure: Outcome[Any] = Outcome("a", 1, "failed")
    node = AggregationNode(reads="results", writes=("rows", "failures"))
    shared = simulate(node, {"results": [[1], failure, [2]]}).shared
    assert (shared["rows"], shared["failures"]) == ([1, 2], (failure,))


def test_results_are_reduced_in_order() -> None:
    """From the initial total, which stays as it is, or from the first result."""
    start: list[Any] = []

    def noted(total: list[Any], result: Any) -> list[Any]:
        total.append(result)
        return total

    node = AggregationNode(noted, initial=start)
    assert node.aggregated("abc").value == ["a", "b", "c"]
    assert node.aggregated("d").value == ["d"]
    assert start == []
    assert AggregationNode(lambda total, one: total - one).aggregated([9, 2, 3]).value == 4


def test_a_method_may_reduce() -> None:
    """Of a subclass."""

    class Total(AggregationNode):
        initial = 10

        def reduce(self, total: int, result: int, /) -> int:
            return total + result

    assert Total().aggregated([1, 2]).value == 13


@pytest.mark.parametrize(
    ("results", "message"),
    [([1], "the result of a chunk is a int: give reduce="), (["ab"], "a str: give reduce=")],
)
def test_results_that_are_no_lists_need_a_reduce(results: Any, message: str) -> None:
    """A text is not a list of letters."""
    with pytest.raises(TypeError, match=message):
        AggregationNode().aggregated(results)


def test_nothing_to_reduce_is_an_error_without_an_initial_total() -> None:
    """The total of nothing is undefined."""
    with pytest.raises(TypeError, match="no result to reduce: give initial="):
        AggregationNode(max).aggregated([])
    assert AggregationNode().aggregated([]) == ([], ())


def test_it_stands_last_in_a_stream() -> None:
    """Elsewhere it has no results to put together."""
    split = BatchSplitterNode(reads="numbers", size=2)
    with pytest.raises(TypeError, match="last stage of a pipeline"):
        simulate(split | AggregationNode(writes="done") | Double(), {"numbers": [1]})


def test_cancelled_anywhere_it_leaves_nothing() -> None:
    """The source included."""

    async def numbers() -> AsyncIterator[int]:
        for number in (1, 0, 1, 13):
            await asyncio.sleep(0.1)
            yield number

    assert cancel_everywhere(Graph(stream()), lambda: {"numbers": numbers()}, seeds=2) > 20


class Passes(ParallelBatchNode[Any, Any]):
    """Hands numbers on; 13 fails, and each takes as many seconds as it says."""

    on_error = "collect"

    def __init__(self, source: Any = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.source = source

    def prep(self, shared: Any) -> Any:
        return self.source

    async def exec(self, number: int) -> int:
        await asyncio.sleep(number / 100)
        if number == 13:
            raise ValueError(number)
        return number


def middle(source: Any, **settings: Any) -> Any:
    """A splitter after the stage that gives the numbers."""
    split = BatchSplitterNode(size=3)
    return Passes(source, **settings) | split | Double() | AggregationNode(writes="done")


def test_a_splitter_cuts_what_the_stage_before_it_gives() -> None:
    """In the order of the stream; the last chunk may be short."""
    run = simulate(Graph(middle([5, 1, 2, 4, 3, 0, 1])))
    assert run.shared["done"] == Aggregation([10, 2, 4, 8, 6, 0, 2], ())
    assert run.report.nodes["Pipeline/Double"].items["ok"] == 3


def test_what_failed_before_is_in_no_chunk() -> None:
    """It goes past the splitter, and is accounted for at the end."""
    done = simulate(Graph(middle([1, 13, 2, 3, 13, 4]))).shared["done"]
    assert done.value == [2, 4, 6, 8]
    assert [failure.item for failure in done.failures] == [13, 13]


def test_chunks_by_bytes_too() -> None:
    """With a method that weighs items."""

    class ByValue(BatchSplitterNode):
        def size_of(self, number: int) -> int:
            return number

    class Keeps(AggregationNode):
        def aggregated(self, results: Any) -> Any:
            return list(results)

    pipeline = Passes([4, 4, 4, 9, 1]) | ByValue(max_bytes=8) | Keeps(writes="chunks")
    assert simulate(pipeline).shared["chunks"] == [[4, 4], [4], [9], [1]]


async def test_a_chunk_goes_on_as_soon_as_it_is_full() -> None:
    """Also of a source without an end; it is read no further than there is room."""
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield 1

    pipeline = Passes(numbers(), max_workers=1) | BatchSplitterNode(size=3)
    pipeline.buffer = 2
    async with contextlib.aclosing(pipeline.stream()) as chunks:
        async for chunk in chunks:
            assert chunk == [1, 1, 1]
            break
    assert read <= 3 * 4 + 2 * 3


def test_a_drained_run_hands_on_the_last_chunk() -> None:
    """What had been taken is finished."""

    class Drains(Passes):
        async def exec(self, number: int) -> int:
            if number == 3:
                FRAME.get().run.drain()
            return number

    split = BatchSplitterNode(size=4)
    pipeline = Drains(iter(range(100)), max_workers=1) | split | AggregationNode(writes="done")
    pipeline.buffer = 1
    done = simulate(pipeline).shared["done"].value
    assert done == list(range(len(done)))
    assert 4 <= len(done) < 10
    assert len(done) % 4


def test_a_splitter_in_the_middle_reads_no_key() -> None:
    """Alone or first it has to; each is refused with what to write."""
    for alone in (BatchSplitterNode(size=2), BatchSplitterNode(size=2) | Double()):
        with pytest.raises(TypeError, match="has no items: reads= names the key"):
            simulate(alone, {})
    both = Passes([1]) | BatchSplitterNode(size=2, reads="numbers") | Double()
    with pytest.raises(TypeError, match="leave reads= out, or put it first"):
        simulate(both, {"numbers": [1]})
    with pytest.raises(TypeError, match="a stream has none: use size="):
        simulate(Passes([1]) | BatchSplitterNode(count=2) | Double(), {})


def test_in_the_middle_too_it_leaves_nothing_when_cancelled_anywhere() -> None:
    """With chunks in flight."""
    assert cancel_everywhere(Graph(middle([1, 0, 1, 13, 2])), seeds=2) > 20


@pytest.mark.parametrize("first", [True, False])
def test_a_limit_that_a_source_holds_passes_through_its_chunks(first: bool) -> None:
    """It is raised in the source, even while its chunks wait for room."""

    async def rows() -> AsyncIterator[int]:
        async with asyncio.timeout(10):
            for number in count():
                yield number

    class Rows(Node[Any, Any]):
        def prep(self, _: Any) -> Any:
            return rows()

    class Slow(Node[Any, Any]):
        async def exec(self, chunk: Any) -> None:
            await asyncio.sleep(4)

    split = BatchSplitterNode(size=2, **({"reads": "rows"} if first else {}))
    stages = (split,) if first else (Rows(), split)
    with pytest.raises(TimeoutError):
        simulate(Pipeline(*stages, Slow(), buffer=1), {"rows": rows()})


def test_chunks_of_a_stream_are_closed_wherever_the_run_is_cancelled() -> None:
    """With the stream that they are made of."""

    class Rows(Node[Any, Any]):
        async def prep(self, _: Any) -> AsyncIterator[int]:
            for number in range(8):
                await asyncio.sleep(number % 2)
                yield number

    class Slow(Node[Any, Any]):
        async def exec(self, chunk: Any) -> None:
            await asyncio.sleep(1)

    async def run(_: Any) -> None:
        await Pipeline(Rows(), BatchSplitterNode(size=3), Slow(), buffer=1).run_async({})

    assert cancel_everywhere(run, {}, seeds=2) > 50
