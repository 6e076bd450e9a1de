"""Draining: nothing more is taken, what is in flight ends, and what is done is handed over."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from kaygraph import (
    BatchGraph,
    Graph,
    ItemFinished,
    MapReduceNode,
    RateLimit,
    all_of,
    settle,
)
from tests.clock import VIRTUAL
from tests.run.draining import AnyNode, Batch, Kept, Source, Step, drained, now
from tests.stages import Read, Stage

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


# --- batches ---


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", ["list", "iterator", "async"])
async def test_a_batch_takes_no_more_items_and_hands_over_what_is_done(
    kind: str, workers: int
) -> None:
    """Items in flight come to their end, ``post`` gets all results, no node begins after it."""
    source, shared, log = Source(), dict[str, Any](), list[str]()
    batch = Batch(source.of(kind), max_workers=workers)
    assert await drained(Graph(batch >> Step(log, "after")), 2.5, shared) is None
    assert shared["Batch"] == sorted(batch.ended) == list(range(3 * workers))
    assert now() == pytest.approx(3)
    assert log == []
    if kind != "list":
        assert source.closed
        assert source.pulled == 3 * workers


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("where", ["batch", "pipeline", "rounds", "map"])
async def test_a_source_that_is_waited_for_is_left_at_once(where: str, workers: int) -> None:
    """An async generator is closed in the middle of its wait, and its ``finally`` runs."""
    source, shared, mapped = Source(wait=2), dict[str, Any](), list[int]()

    class Map(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return source.slowly()

        async def map(self, item: int) -> list[tuple[int, int]]:
            mapped.append(item)
            return [(item, item)]

    class Rounds(BatchGraph):
        async def prep(self, _: Any) -> Any:
            return ({"number": number} async for number in source.slowly())

        def post(self, shared: Any, _: Any, actions: Any) -> None:
            shared["done"] = actions

    nodes: dict[str, AnyNode] = {
        "batch": Batch(source.slowly(), max_workers=workers, name="done"),
        "pipeline": Kept(Read(source.slowly()), Stage(1, max_workers=workers), name="done"),
        "rounds": Rounds(Step([], "step", 1), max_workers=workers),
        "map": Map(map_workers=workers),
    }
    await drained(Graph(nodes[where]), 100, shared)
    assert now() == 100
    assert source.pulled == 3
    assert source.closed or where == "rounds"  # there it stands within another generator
    assert mapped == [0, 1, 2] if where == "map" else len(shared["done"]) == 3


async def test_what_a_source_yields_at_its_end_is_an_item() -> None:
    """What a generator still yields when its wait is ended is an item like any other."""

    async def source() -> AsyncIterator[str]:
        yield "first"
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            yield "last"

    for workers in (1, 3):
        shared: dict[str, Any] = {}
        await drained(Batch(source(), max_workers=workers), 10, shared)
        assert shared["Batch"] == ["first", "last"]


async def test_a_source_that_ends_when_its_wait_is_ended_leaves_nothing_pending() -> None:
    """A generator may take the end of its wait for its own: the run is not cancelled by it."""

    async def source() -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            return

    class Waits(Batch):
        async def post(self, shared: Any, _: Any, results: Any) -> None:  # type: ignore[override]
            async with asyncio.timeout(5):
                await asyncio.sleep(1)
            task = asyncio.current_task()
            assert task is not None
            shared["done"] = results, task.cancelling()

    shared: dict[str, Any] = {}
    await drained(Waits(source()), 10, shared)
    assert shared["done"] == ([1], 0)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("where", ["batch", "pipeline"])
async def test_a_source_may_drain_its_own_run(where: str, workers: int, kind: str) -> None:
    """The item that comes with it is worked on, and none after it."""

    def numbers() -> Iterator[int]:
        for number in count():
            if number == 5:
                task.drain()
            yield number

    async def slowly() -> AsyncIterator[int]:
        for number in numbers():
            yield number

    source: Any = numbers() if kind == "sync" else slowly()
    shared: dict[str, Any] = {}
    node: Any = Batch(source, max_workers=workers, name="done")
    if where == "pipeline":
        node = Kept(Read(source), Stage(1, max_workers=workers), name="done")
    task = node.launch(shared)
    await task
    assert shared["done"] == [0, 1, 2, 3, 4, 5]


async def test_an_item_in_flight_keeps_its_retries() -> None:
    """A failed attempt is followed by the next one, waits included, while the run drains.

    Those that had begun while the first two waited are in flight as well.
    """

    class Flaky(Batch):
        async def exec(self, item: int) -> int:
            await asyncio.sleep(1)
            if self.attempt < 3:
                raise ValueError(item)
            return item

    shared: dict[str, Any] = {}
    await drained(Flaky(count(), max_workers=2, max_retries=3, wait=10), 1.5, shared)
    assert shared["Flaky"] == [0, 1, 2, 3]
    assert now() == 24


async def test_a_worker_that_waits_for_a_permit_takes_no_item() -> None:
    """Of a graph that allows two at once, the other workers have no item."""
    source, shared = Source(), dict[str, Any]()
    await drained(Graph(Batch(iter(source), max_workers=8), max_workers=2), 1.5, shared)
    assert shared["Batch"] == [0, 1, 2, 3]
    assert source.pulled == 4
    assert now() == 2


async def test_an_item_that_waits_for_its_rate_comes_to_its_end() -> None:
    """It was taken before the drain: it is in flight, and has its turn."""
    source, shared = Source(), dict[str, Any]()
    await drained(Batch(iter(source), 0, max_workers=3, rate=RateLimit(1, per=60)), 90, shared)
    assert shared["Batch"] == list(range(source.pulled))
    assert now() == 60 * (source.pulled - 1)


# --- walks ---


async def test_no_node_of_a_walk_begins() -> None:
    """The node that runs comes to its end; neither a join nor what follows a graph begins."""
    log: list[str] = []
    a, b, c, d, after = (Step(log, name) for name in ("a", "b", "c", "d", "after"))
    inner = Graph(a >> [b, c] >> d)
    await drained(Graph(inner >> after), 3)
    assert log == ["a began", "a ended", "b began", "c began", "b ended", "c ended"]


async def test_a_loop_ends_with_its_round() -> None:
    """A graph that never ends by itself ends when the run drains."""
    log: list[str] = []
    poll = Step(log, "poll", 1, "again")
    poll - "again" >> poll
    await drained(Graph(poll), 10.5)
    assert log == ["poll began", "poll ended"] * 11


async def test_the_last_action_is_that_of_the_node_that_ended_last() -> None:
    """It does not get lost because the node that it leads to does not begin."""
    log: list[str] = []
    first, second = Step(log, "first", action="go"), Step(log, "second", action="end")
    first - "go" >> second
    assert await drained(Graph(first), 1) == "go"
    assert await drained(Graph(first), 3) == "end"


@pytest.mark.parametrize("at", [1, 3], ids=["before it", "after it"])
async def test_a_failure_that_nothing_handles_any_more_is_raised(at: float) -> None:
    """The node on its error route does not begin: the error must not vanish with it."""

    class Fails(Step):
        async def exec(self, _: Any) -> None:
            await asyncio.sleep(2)
            raise ValueError("broken")

    log: list[str] = []
    fails, other, handles = Fails(log, "fails"), Step(log, "other", 4), Step(log, "handles")
    fails - "error" >> handles
    other >> handles
    with pytest.raises(ValueError, match="broken"):
        await drained(Graph([fails, other]), at)
    assert "handles began" not in log


async def test_failures_that_one_node_would_have_handled_are_raised_together() -> None:
    """The join on both of their error routes does not begin."""

    class Fails(Step):
        async def exec(self, _: Any) -> None:
            await asyncio.sleep(2)
            raise ValueError(self.name)

    log: list[str] = []
    handles = Step(log, "handles")
    one, two, other = Fails(log, "one"), Fails(log, "two"), Step(log, "other", 4)
    [one - "error" >> handles, two - "error" >> handles, other >> handles]
    with pytest.raises(ExceptionGroup, match="2 nodes failed") as caught:
        await drained(Graph([one, two, other]), 3)
    assert [str(error) for error in caught.value.exceptions] == ["one", "two"]
    assert "other ended" in log
    assert "handles began" not in log


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_round_goes_through_all_its_nodes_and_no_round_begins(workers: int) -> None:
    """So does a batch within it: a round is one item."""

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Iterator[dict[str, int]]:
            return ({"number": number} for number in count())

        def post(self, shared: Any, _: Any, actions: Any) -> None:
            shared["rounds"] = actions

    shared: dict[str, Any] = {}
    log: list[str] = []
    batch, after = Batch(range(12), max_workers=4), Step(log, "after", action="done")
    rounds = Rounds(batch >> after, max_workers=workers, on_conflict="ignore")
    after - "done" >> Step(log, "last", 1, "done")
    await drained(Graph(rounds >> Step(log, "never")), 6.5 if workers == 1 else 10.5, shared)
    assert shared["rounds"] == ["done"] * 2 * workers
    assert sorted(batch.ended) == sorted([*range(12)] * 2 * workers)
    assert log.count("last ended") == 2 * workers
    assert "never began" not in log


@pytest.mark.parametrize("group", [all_of, settle])
async def test_the_branches_of_a_group_are_in_flight_as_a_whole(group: Any) -> None:
    """Their later nodes begin, batches in them take all their items; what follows does not."""
    log, shared = list[str](), dict[str, Any]()
    branches = group(
        Step(log, "a") >> Batch(range(5), name="batch"),
        Step(log, "b") >> Kept(Read(iter(range(5))), Stage(1), buffer=1, name="pipeline"),
    )
    await drained(Graph(branches >> Step(log, "never")), 1, shared)
    assert log == ["a began", "b began", "a ended", "b ended"]
    assert shared["batch"] == shared["pipeline"] == [0, 1, 2, 3, 4]


# --- pipelines, map-reduce ---


@pytest.mark.parametrize("kind", ["iterator", "async"])
@pytest.mark.parametrize("reads", [True, False])
async def test_all_that_a_pipeline_has_pulled_goes_through_its_stages(
    kind: str, reads: bool
) -> None:
    """Buffers are emptied, results that wait for their order are given, each ``post`` is called."""
    source, shared = Source(), dict[str, Any]()
    first = Batch(source.of(kind), lambda item: 7 if item % 4 == 1 else 0.5, max_workers=3)
    stages = [Read(source.of(kind)), Stage(1, max_workers=2)] if reads else [first]
    last = Stage(2, name="last")
    pipeline = Kept(*stages, last, buffer=3, name="done")
    await drained(Graph(pipeline >> Step([], "never")), 20, shared)
    assert shared["done"] == list(range(source.pulled))
    assert 10 <= source.pulled <= 20
    assert source.closed
    assert last.report is not None
    assert (last.report.items, last.report.ok) == (source.pulled, source.pulled)


async def test_what_was_mapped_is_reduced() -> None:
    """No more items are mapped; those that were are not lost."""

    class Count(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return count()

        async def map(self, item: int) -> list[tuple[str, int]]:
            await asyncio.sleep(1)
            return [("even" if item % 2 == 0 else "odd", item)]

        async def reduce(self, _: str, values: list[int]) -> list[int]:
            await asyncio.sleep(1)
            return sorted(values)

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["done"] = results

    shared: dict[str, Any] = {}
    await drained(Graph(Count(map_workers=2) >> Step([], "never")), 2.5, shared)
    assert shared["done"] == {"even": [0, 2, 4], "odd": [1, 3, 5]}


# --- when ---


@pytest.mark.parametrize("where", ["batch", "stage", "source", "rounds", "map"])
async def test_a_run_drained_before_it_starts_takes_nothing(where: str) -> None:
    """``post`` gets what there is: nothing."""
    source, shared = Source(), dict[str, Any]()

    class Rounds(BatchGraph):
        def prep(self, _: Any) -> Any:
            return iter(source)

        def post(self, shared: Any, _: Any, actions: Any) -> None:
            shared["done"] = actions

    class Map(MapReduceNode):
        def prep(self, _: Any) -> Any:
            return iter(source)

        def map(self, item: int) -> list[tuple[int, int]]:
            return [(item, item)]

        def post(self, shared: Any, _: Any, results: Any) -> None:
            shared["done"] = [*results]

    batch = Batch(iter(source), name="done")
    nodes: dict[str, AnyNode] = {
        "batch": batch,
        "stage": Kept(Batch(iter(source)), Stage(1), name="done"),
        "source": Kept(Read(iter(source)), Stage(1), name="done"),
        "rounds": Rounds(Step([], "step")),
        "map": Map(),
    }
    await drained(nodes[where], 0, shared)
    assert shared["done"] == []
    assert source.pulled == 0


async def test_a_graph_drained_before_it_starts_begins_no_node() -> None:
    """Its own ``prep`` and ``post`` run, and nothing in between."""
    log: list[str] = []
    assert await drained(Graph(Step(log, "a") >> Step(log, "b")), 0) is None
    assert log == []


async def test_a_lifespan_is_left_after_what_was_in_flight() -> None:
    """Items use what it holds until they end."""
    log: list[str] = []

    class Holds(Batch):
        @asynccontextmanager
        async def lifespan(self, _: Any) -> AsyncIterator[str]:
            yield "open"
            log.append("left")

        async def exec(self, item: int) -> int:
            await asyncio.sleep(1)
            log.append(self.resource)
            return item

    await drained(Holds(count(), max_workers=2), 0.5)
    assert log == ["open", "open", "left"]


async def test_a_hook_of_the_run_may_drain_it() -> None:
    """An observer, an ``exec`` or another task: all may call ``drain``."""
    shared: dict[str, Any] = {}

    def seen(event: Any) -> None:
        if isinstance(event, ItemFinished) and event.item == 4:
            task.drain()

    task = Batch(count()).launch(shared, observers=[seen])
    await task
    assert shared["Batch"] == [0, 1, 2, 3, 4]
