"""Deadlines: of an item, a batch, a round, a graph and a run; the earliest limit wins, exactly."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    DeadlineExceededError,
    Graph,
    MapReduceNode,
    Node,
    Outcome,
    ParallelBatchNode,
    RateLimit,
    RunReport,
)
from tests.calls import Takes, now
from tests.clock import VIRTUAL

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


class TakesMany(ParallelBatchNode[Any, Any]):
    """The items are the seconds that they take; keeps the results."""

    def __init__(self, items: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


class Rounds(BatchGraph):
    """A round for each number of seconds."""

    def __init__(self, rounds: list[float], start: Any, **settings: Any) -> None:
        super().__init__(start, **settings)
        self.rounds = rounds

    def prep(self, _: Any) -> Any:
        return [{"seconds": seconds} for seconds in self.rounds]

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["rounds"] = results


class TakesParams(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(self.params["seconds"])


# --- of an item ---


async def test_item_deadline_covers_the_wait_for_a_permit() -> None:
    """Another node holds the graph's only permit for ten seconds."""
    late = Takes(1, name="late", deadline=3)
    with pytest.raises(DeadlineExceededError, match="exec of 'late' ran longer than deadline=3 s"):
        await Graph([Takes(10), late], max_workers=1).run_async({})
    assert (now(), late.begun) == (3, [])


@pytest.mark.parametrize("limits", [{"rate": RateLimit(1, per=5)}, {"limit_by": str}])
async def test_item_deadline_covers_the_wait_for_a_rate_or_a_key(limits: Any) -> None:
    """The second item would have to wait for longer than its deadline, and is not begun."""
    shared: dict[str, Any] = {}
    report = RunReport()
    items = [2.75, 2.75] if "limit_by" in limits else [0.5, 0.5]
    node = TakesMany(items, deadline=2.875, on_error="collect", **limits)
    await node.run_async(shared, observers=[report])
    first, second = shared["results"]
    assert first == items[0]
    assert (second.status, second.attempts) == ("timed_out", int("limit_by" in limits))
    assert now() == 2.875
    assert (report.items["ok"], report.items["timed_out"]) == (1, 1)


async def test_item_deadline_covers_attempts_and_waits() -> None:
    """Two attempts of three seconds and their waits; the third is cut short, and none follows."""
    node = Takes(100, timeout=3, wait=1, max_retries=9, deadline=10)
    with pytest.raises(DeadlineExceededError, match=r"deadline=10 s"):
        await node.run_async({})
    assert (node.begun, node.ended) == ([0, 4, 8], [3, 7, 10])


async def test_fallback_stands_in_at_the_deadline() -> None:
    """It gets the DeadlineExceededError, and its result is the item's."""

    class Saved(TakesMany):
        def exec_fallback(self, seconds: float, error: Exception) -> str:
            return f"{seconds:g}: {error}"

    shared: dict[str, Any] = {}
    await Saved([1, 5], deadline=2).run_async(shared)
    assert shared["results"] == [1, "5: exec of 'Saved' ran longer than deadline=2 s"]
    assert now() == 2


class Wraps(Takes):
    """Makes an error of its own of a cancellation, as some clients do."""

    async def exec(self, item: Any) -> float:
        try:
            return await super().exec(item)
        except asyncio.CancelledError:
            raise ConnectionError from None


async def test_error_made_of_the_cancellation_is_still_the_deadline() -> None:
    """A client that turns a cancellation into an error of its own is not tried again."""

    node = Wraps(100, deadline=2, max_retries=5)
    with pytest.raises(DeadlineExceededError):
        await node.run_async({})
    assert node.begun == [0]


# --- of a batch ---


async def slow_source() -> AsyncIterator[float]:
    while True:
        yield 0.5
        await asyncio.sleep(1)


@pytest.mark.parametrize("source", [lambda: [1.0] * 9, slow_source, lambda: iter([99.0] * 9)])
@pytest.mark.parametrize("on_error", ["raise", "collect", "skip"])
@pytest.mark.parametrize("kind", [1, 3])
async def test_batch_deadline_ends_the_batch(source: Any, on_error: str, kind: int) -> None:
    """Its source included, and whatever is tolerated of its items."""
    node = TakesMany(source(), max_workers=kind, on_error=on_error, batch_deadline=2.25)
    text = "'TakesMany' ran longer than batch_deadline=2.25 s"
    with pytest.raises(DeadlineExceededError, match=text):
        await Graph(node).run_async({})
    assert now() == 2.25


async def test_batch_in_time_keeps_its_results() -> None:
    """An item's own deadline counts separately."""
    shared: dict[str, Any] = {}
    node = TakesMany([1, 9, 2], deadline=3, batch_deadline=3.5, on_error="skip")
    await node.run_async(shared)
    assert (shared["results"], now()) == ([1, 2], 3)


async def test_batch_deadline_ends_a_stream() -> None:
    """What has finished was yielded; then the error comes."""
    got = []

    async def read() -> None:
        async for outcome in TakesMany([1, 2, 50], batch_deadline=3).stream():
            got.append(outcome.value)

    with pytest.raises(DeadlineExceededError, match="batch_deadline=3"):
        await read()
    assert (got, now()) == ([1, 2], 3)


@pytest.mark.parametrize("slow", ["map", "reduce"])
async def test_batch_deadline_covers_both_phases_of_map_reduce(slow: str) -> None:
    """Mapping takes two seconds and reducing one, or the other way round."""

    class Count(MapReduceNode):
        def prep(self, _: Any) -> range:
            return range(2)

        async def map(self, item: int) -> Any:
            await asyncio.sleep(2 if slow == "map" else 1)
            return [("all", item)]

        async def reduce(self, _: str, values: list[int]) -> int:
            await asyncio.sleep(1 if slow == "map" else 2)
            return sum(values)

    with pytest.raises(DeadlineExceededError, match=r"'Count' ran longer than batch_deadline=2\.5"):
        await Count(batch_deadline=2.5).run_async({})
    assert now() == 2.5
    await Count(batch_deadline=3.5).run_async({})
    assert now() == 5.5


# --- of a graph, and of a round ---


async def test_graph_deadline_is_an_error_like_any_other() -> None:
    """It takes the inner graph's error edge, and the outer graph goes on."""

    class Keeps(Takes):
        def post(self, shared: Any, _: Any, __: Any) -> None:
            shared["error"] = self.error

    inner, after, rescue = Graph(Takes(9), deadline=2, name="inner"), Takes(1), Keeps(3)
    inner >> after
    inner - "error" >> rescue
    shared: dict[str, Any] = {}
    await Graph(inner).run_async(shared)
    assert str(shared["error"]) == "'inner' ran longer than deadline=2 s"
    assert (now(), after.begun, rescue.begun) == (5, [], [2])


@pytest.mark.parametrize(("inner", "outer"), [(2, 3), (3, 2)])
async def test_earlier_of_two_graphs_deadlines_wins(inner: float, outer: float) -> None:
    """Nested as they are: the error names the one that ran out."""
    graph = Graph(Graph(Takes(9), deadline=inner, name="inner"), deadline=outer, name="outer")
    name = "inner" if inner < outer else "outer"
    with pytest.raises(DeadlineExceededError, match=f"'{name}' ran longer than deadline=2 s"):
        await graph.run_async({})
    assert now() == 2


async def test_graph_deadline_counts_each_walk() -> None:
    """A graph in a loop has all of its time again each time."""

    class Again(Node[Any, Any]):
        def post(self, shared: Any, _: Any, __: Any) -> str | None:
            shared["walks"] = shared.get("walks", 0) + 1
            return "again" if shared["walks"] < 3 else None

    inner, again = Graph(Takes(2), deadline=3), Again()
    inner >> again - "again" >> inner
    await Graph(inner).run_async({})
    assert now() == 6


@pytest.mark.parametrize("workers", [1, 3])
async def test_deadline_of_a_batch_graph_is_a_rounds(workers: int) -> None:
    """A round that takes too long is an outcome; the others are not touched."""
    shared: dict[str, Any] = {}
    rounds = Rounds([1, 9, 2], TakesParams(), max_workers=workers, deadline=3, on_error="collect")
    await rounds.run_async(shared)
    first, late, last = shared["rounds"]
    assert (first, last) == (None, None)
    assert isinstance(late, Outcome)
    assert late.status == "timed_out"
    assert str(late.error) == "'Rounds' ran longer than deadline=3 s"
    assert now() == (6 if workers == 1 else 3)


@pytest.mark.parametrize("of", ["graph", "run"])
async def test_deadline_around_is_not_an_error_of_the_node(of: str) -> None:
    """A client turns the cancellation into an error of its own: the error edge is not taken."""

    node, rescue = Wraps(100), Takes(7)
    node - "error" >> rescue
    graph = Graph(node, deadline=2 if of == "graph" else None)
    with pytest.raises(DeadlineExceededError):
        await graph.run_async({}, deadline=2 if of == "run" else None)
    assert (now(), rescue.begun) == (2, [])
