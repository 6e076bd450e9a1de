"""Map, combine, shuffle, reduce: against a Counter, however it is set up."""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import (
    AttemptTimeoutError,
    Graph,
    ItemFinished,
    MapReduceNode,
    NodeDefinitionError,
    RunReport,
    TooManyFailuresError,
)
from tests.clock import VIRTUAL, run_virtually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class Count(MapReduceNode):
    """Counts words; `map` yields a pair a word."""

    def prep(self, shared: Any) -> Any:
        return shared["lines"]

    def map(self, line: str) -> Any:
        for word in line.split():
            yield word, 1

    def reduce(self, _: Any, values: list[int]) -> int:
        return sum(values)

    def post(self, shared: Any, _: Any, counts: Any) -> None:
        shared["counts"] = counts


class CombinedCount(Count):
    def combine(self, _: Any, values: list[int]) -> int:
        return sum(values)


class AsyncCount(Count):
    async def map(self, line: str) -> Any:
        await asyncio.sleep(len(line) % 3)
        return [(word, 1) for word in line.split()]

    async def reduce(self, _: Any, values: list[int]) -> int:
        await asyncio.sleep(1)
        return sum(values)


class StreamCount(CombinedCount):
    async def map(self, line: str) -> AsyncIterator[tuple[str, int]]:
        for word in line.split():
            await asyncio.sleep(1)
            yield word, 1


async def counted(node: Count, lines: Any) -> Any:
    shared: dict[str, Any] = {"lines": lines}
    await node.run_async(shared)
    return shared["counts"]


LINES = st.lists(st.lists(st.sampled_from("abcdefg")).map(" ".join), max_size=30)


@settings(max_examples=80, deadline=None)
@given(
    LINES,
    st.sampled_from([Count, CombinedCount, AsyncCount, StreamCount]),
    st.integers(1, 4),
    st.integers(1, 4),
    st.none() | st.integers(1, 9),
    st.booleans(),
)
def test_counts_are_those_of_a_counter(
    lines: list[str],
    kind: type[Count],
    map_workers: int,
    reduce_workers: int,
    partitions: int | None,
    watched: bool,
) -> None:
    """Whatever the workers, partitions, combining, and the way map is written."""
    extra: Any = {} if partitions is None else {"partitions": partitions}
    node = kind(map_workers=map_workers, reduce_workers=reduce_workers, run_in="loop", **extra)
    shared: dict[str, Any] = {"lines": lines}
    observers = [RunReport()] if watched else []
    run_virtually(node.run_async(shared, observers=observers))
    assert shared["counts"] == Counter(word for line in lines for word in line.split())


@pytest.mark.parametrize("many", [1, 63, 64, 65, 128, 129, 1000])
async def test_combining_loses_nothing_at_any_number_of_values(many: int) -> None:
    """A key's values are combined again and again as they come together."""
    node = CombinedCount(run_in="loop")
    assert await counted(node, ["a b a"] * many) == {"a": 2 * many, "b": many}


async def test_combine_is_called_so_that_reduce_sees_few_values() -> None:
    """Of a thousand values, reduce gets fewer than the number at which they are combined."""

    class Watched(CombinedCount):
        def reduce(self, key: Any, values: list[int]) -> int:
            seen[key] = len(values)
            return sum(values)

    seen: dict[str, int] = {}
    node = Watched(run_in="loop")
    assert await counted(node, ["a a a"] * 1000) == {"a": 3000}
    assert seen["a"] <= 64


async def test_without_combine_reduce_gets_every_value() -> None:
    """By default, reduce returns the values themselves."""

    class Groups(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return range(10)

        async def map(self, item: int) -> Any:
            return [(item % 3, item)]

        def post(self, shared: Any, _: Any, groups: Any) -> None:
            shared.update(groups)

    shared: dict[int, list[int]] = {}
    await Groups().run_async(shared)
    assert {key: sorted(values) for key, values in shared.items()} == {
        0: [0, 3, 6, 9],
        1: [1, 4, 7],
        2: [2, 5, 8],
    }


async def test_partition_decides_which_keys_are_reduced_together() -> None:
    """Keys of one partition follow each other in the result, and share a reducer's turn."""

    class ByLength(Count):
        def partition(self, key: Any) -> int:
            return len(key)

    counts = await counted(ByLength(partitions=3, run_in="loop"), ["aa b cc d eee ff"])
    assert [len(key) % 3 for key in counts] == sorted(len(key) % 3 for key in counts)
    assert counts == dict.fromkeys(["aa", "b", "cc", "d", "eee", "ff"], 1)


@pytest.mark.parametrize("hook", ["partition", "combine"])
async def test_hooks_may_be_put_on_a_node(hook: str) -> None:
    """As in the class, they are called only where they are given."""
    node = Count(run_in="loop", partitions=2)
    called: list[Any] = []
    given: dict[str, Any] = {
        "partition": lambda key: called.append(key) or ord(key),
        "combine": lambda key, values: called.append(key) or sum(values),
    }
    setattr(node, hook, given[hook])
    assert await counted(node, ["a b a"]) == {"a": 2, "b": 1}
    assert set(called) == ({"a", "b"} if hook == "partition" else {"a"})


async def test_without_a_partition_the_keys_are_dealt_out_evenly() -> None:
    """One after another, in the order in which they came."""

    class Parts(Count):
        async def reduce(self, key: Any, values: list[int]) -> int:
            task = asyncio.current_task()
            assert task is not None
            reduced.setdefault(task.get_name(), []).append(key)
            await asyncio.sleep(1)
            return sum(values)

    reduced: dict[str, list[str]] = {}
    node = Parts(reduce_workers=3, map_workers=1, run_in="loop")
    assert list(await counted(node, ["a b c d e f g"])) == list("abcdefg")
    assert list(reduced.values()) == [list("abc"), list("def"), ["g"]]


@pytest.mark.parametrize("same", [[1, 1.0, True, Decimal(1)], [frozenset("abc"), frozenset("cba")]])
async def test_equal_keys_are_one_key_however_they_are_written(same: list[Any]) -> None:
    """Keys that a dict takes for the same are reduced together, and none is lost."""

    class Keys(Count):
        def map(self, item: Any) -> Any:
            return [(item, 1)]

    for partitions in range(1, 8):
        node = Keys(partitions=partitions, run_in="loop")
        counts = await counted(node, same * 3)
        assert list(counts.values()) == [len(same) * 3], (partitions, counts)


async def test_map_runs_in_threads_when_written_def() -> None:
    """As many at once as map_workers say; map's generator is read where it runs."""

    class Threads(Count):
        def map(self, line: str) -> Iterator[tuple[str, int]]:
            barrier.wait(30)
            yield threading.current_thread().name[:8], 1

    barrier = threading.Barrier(3)
    assert await counted(Threads(map_workers=3), ["x"] * 6) == {"kaygraph": 6}


class Pids(Count):
    """Counts in which processes its lines were mapped."""

    run_in = "process"

    def map(self, line: str) -> Iterator[tuple[Any, int]]:
        yield os.getpid(), 1
        yield line, 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # processes take real time to start
async def test_map_and_reduce_run_in_processes() -> None:
    """run_in="process" counts the same, elsewhere."""
    counts = await counted(Pids(map_workers=2, reduce_workers=1), ["a", "b", "a", "c"])
    pids = {key: value for key, value in counts.items() if isinstance(key, int)}
    assert os.getpid() not in pids
    assert sum(pids.values()) == 4
    assert {key: counts[key] for key in "abc"} == {"a": 2, "b": 1, "c": 1}


class Fails(Count):
    """Fails on lines that begin with an exclamation mark."""

    async def map(self, line: str) -> Any:
        if line.startswith("!"):
            raise ValueError(line)
        return [(word, 1) for word in line.split()]


LINES_THAT_FAIL = ["a", "!1", "a b", "!2", "b"]


async def test_a_failing_item_is_raised_with_its_place() -> None:
    """The note names the phase, the item and the attempt."""
    with pytest.raises(ValueError, match="!1") as caught:
        await counted(Fails(map_workers=1, max_retries=2), LINES_THAT_FAIL)
    (note,) = caught.value.__notes__
    assert "Fails/map" in note
    assert "item 1 ('!1'), attempt 2 of 2" in note


async def test_failing_items_can_be_skipped_or_tolerated() -> None:
    """ "skip", a number and a share work as in a batch; what was counted stays counted."""
    for on_error in ("skip", 2, 0.4):
        node = Fails(on_error=on_error)
        assert await counted(node, LINES_THAT_FAIL) == {"a": 2, "b": 2}
    for on_error in (1, 0.3):
        with pytest.raises(TooManyFailuresError):
            await counted(Fails(on_error=on_error), LINES_THAT_FAIL)


async def test_an_item_that_cannot_be_combined_is_left_out_whole() -> None:
    """With on_error="skip" an item counts as a whole or not at all."""

    class Picky(Count):
        async def map(self, line: str) -> Any:
            return [(word, line) for word in line.split()]

        def combine(self, _: Any, values: list[str]) -> str:
            if any(value.startswith("bad") for value in values):
                raise ValueError
            return values[0]

        def reduce(self, _: Any, values: list[str]) -> int:
            return len(values)

    node = Picky(on_error="skip", map_workers=1)
    assert "only" not in await counted(node, ["bad bad only", "a b"])


async def test_retries_and_limits_count_per_item() -> None:
    """Each item has its own attempts and its own timeout."""

    class Slow(Count):
        async def map(self, line: str) -> Any:
            tries.append(line)
            if self.attempt < 3:
                await asyncio.sleep(100)
            return [(line, 1)]

    tries: list[str] = []
    assert await counted(Slow(timeout=5, max_retries=3), ["a", "b", "c"]) == {
        "a": 1,
        "b": 1,
        "c": 1,
    }
    assert Counter(tries) == {"a": 3, "b": 3, "c": 3}
    with pytest.raises(AttemptTimeoutError):
        await counted(Slow(timeout=5, max_retries=2, map_workers=1), ["a", "b", "c"])


async def test_mapping_and_reducing_keep_within_their_workers_and_the_runs_cap() -> None:
    """map_workers, reduce_workers, and the graph's cap on top."""

    class Watched(Count):
        async def map(self, line: str) -> Any:
            await self.step("map")
            return [(line, 1)]

        async def reduce(self, _: Any, values: list[int]) -> int:
            await self.step("reduce")
            return sum(values)

        async def step(self, phase: str) -> None:
            now[phase] += 1
            most[phase] = max(most[phase], now[phase])
            await asyncio.sleep(1)
            now[phase] -= 1

    for cap, expected in ((None, {"map": 4, "reduce": 3}), (2, {"map": 2, "reduce": 2})):
        now, most = Counter[str](), Counter[str]()
        node = Watched(map_workers=4, reduce_workers=3, partitions=12)
        await Graph(node, max_workers=cap).run_async({"lines": map(str, range(40))})
        assert most == expected


async def test_items_are_pulled_lazily() -> None:
    """No more lines are read ahead than are mapped at once."""

    class Watched(Count):
        async def map(self, line: str) -> Any:
            ahead.append(pulled - done)
            await asyncio.sleep(1)
            return [(line, 1)]

        def partition(self, key: Any) -> int:
            nonlocal done
            done += 1
            return 0

    def lines() -> Iterator[str]:
        nonlocal pulled
        for number in range(50):
            pulled += 1
            yield str(number)

    pulled = done = 0
    ahead: list[int] = []
    await counted(Watched(map_workers=4), lines())
    assert max(ahead) <= 4


async def test_both_phases_show_in_events() -> None:
    """Their items are identified by name."""
    events: list[Any] = []
    shared: dict[str, Any] = {"lines": ["a b", "c"]}
    await AsyncCount(partitions=2).run_async(shared, observers=[events.append])
    names = Counter(event.node for event in events if isinstance(event, ItemFinished))
    assert names["AsyncCount/map"] == 2
    assert 1 <= names["AsyncCount/reduce"] <= 2


def test_settings_that_cannot_work_are_refused() -> None:
    """At construction, or when the class is made."""
    for name in ("map_workers", "reduce_workers", "partitions"):
        for value in (0, -1, True):
            with pytest.raises(ValueError, match=f"{name} must be"):
                Count(**{name: value})
    with pytest.raises(ValueError, match="no place in a dict"):
        Count(on_error="collect")
    with pytest.raises(TypeError, match="Did you mean 'map_workers'"):
        Count(map_worker=3)  # type: ignore[call-arg]
    with pytest.raises(NodeDefinitionError, match="combine must be written 'def'"):

        class AsyncCombine(Count):
            async def combine(self, key: Any, values: Any) -> Any:
                return values


async def test_a_node_without_a_map_says_so() -> None:
    """map is the one hook that has to be there."""

    class Empty(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return [1]

    with pytest.raises(NodeDefinitionError, match="must define map"):
        await Empty().run_async({})


@pytest.mark.parametrize("written", ["def", "async def"])
async def test_pairs_of_one_item_are_combined_as_they_come(written: str) -> None:
    """An item may yield many more pairs than there is room for."""

    class Counts(MapReduceNode):
        run_in: Any = "loop"

        def prep(self, _: Any) -> Any:
            return [10_000]

        def map(self, item: int) -> Any:
            return ((number % 2, 1) for number in range(item))

        def combine(self, key: Any, values: list[int]) -> int:
            sizes.append(len(values))
            return sum(values)

        def reduce(self, key: Any, values: list[int]) -> int:
            return sum(values)

        def post(self, shared: Any, _: Any, counts: Any) -> None:
            shared["counts"] = counts

    class Awaits(Counts):
        async def map(self, item: int) -> Any:
            for number in range(item):
                yield number % 2, 1

    sizes: list[int] = []
    shared: dict[str, Any] = {}
    await (Awaits if written == "async def" else Counts)().run_async(shared)
    assert shared["counts"] == {0: 5000, 1: 5000}
    assert max(sizes) <= 64


@pytest.mark.parametrize("map_workers", [1, 2])
@pytest.mark.parametrize("reduce_workers", [1, 2])
def test_a_run_from_synchronous_code_counts_alike(map_workers: int, reduce_workers: int) -> None:
    """Also where one worker maps in the calling thread, with nothing else running."""
    shared: dict[str, Any] = {"lines": ["a b a", "b c"]}
    Graph(Count(map_workers=map_workers, reduce_workers=reduce_workers)).run(shared)
    assert shared["counts"] == {"a": 2, "b": 2, "c": 1}


def test_an_error_of_reduce_shows_the_keys_and_values_of_its_partition() -> None:
    """As a mapping, whatever the engine makes of them."""

    class Fails(MapReduceNode):
        def prep(self, shared: Any) -> Any:
            return ["a b a"]

        def map(self, line: str) -> Any:
            return [(word, 1) for word in line.split()]

        def reduce(self, key: str, values: list[int]) -> Any:
            raise ValueError(key)

    with pytest.raises(ValueError, match="a") as caught:
        Fails(reduce_workers=1).run({})
    assert "item 0 ({'a': [1, 1], 'b': [1]})" in caught.value.__notes__[0]
