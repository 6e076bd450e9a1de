"""Every item is accounted for exactly once: random plans against a serial oracle."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kaygraph import (
    AttemptTimeoutError,
    Drop,
    Event,
    Graph,
    ItemFailed,
    ItemFinished,
    ItemStarted,
    Outcome,
    ParallelBatchNode,
    TooManyFailuresError,
)
from tests.clock import run_virtually


@dataclass(frozen=True)
class Fate:
    """What an item does: it takes its time, fails so often, then ends in this way."""

    delay: float
    failures: int
    end: str  # ok, hang, drop, fail


@dataclass(frozen=True)
class Plan:
    fates: list[Fate]
    max_workers: int
    attempts: int
    on_error: str | float
    ordered: bool
    source: str  # list, iterator, async
    cap: int | None
    cancel_at: int | None  # the number of the event at which the run is cancelled


FATES = st.builds(
    Fate,
    delay=st.sampled_from([0.0, 0.0, 1.0, 2.0, 3.0]),
    failures=st.integers(0, 3),
    end=st.sampled_from(["ok", "ok", "ok", "fail", "hang", "drop"]),
)
PLANS = st.builds(
    Plan,
    fates=st.lists(FATES, max_size=12),
    max_workers=st.integers(1, 5),
    attempts=st.integers(1, 3),
    on_error=st.sampled_from(["raise", "collect", "skip", 1, 2, 5, 0.25, 0.5]),
    ordered=st.booleans(),
    source=st.sampled_from(["list", "iterator", "async"]),
    cap=st.sampled_from([None, None, 1, 2]),
    cancel_at=st.none() | st.integers(0, 40),
)


def oracle(fate: Fate, attempts: int) -> tuple[str, int]:
    """Return, item by item and one after another, the status and the attempts."""
    for attempt in range(1, attempts + 1):
        if attempt > fate.failures:
            if fate.end == "ok":
                return "ok", attempt
            if fate.end == "drop":
                return "skipped", attempt
            if attempt == attempts:
                return ("timed_out" if fate.end == "hang" else "failed"), attempt
    return "failed", attempts


class Planned(ParallelBatchNode[Any, Any]):
    """Carries out a plan and counts what it is given."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            max_workers=plan.max_workers,
            max_retries=plan.attempts,
            on_error=plan.on_error,
            ordered=plan.ordered,
            timeout=10,
        )
        self.plan = plan
        self.pulled = self.running = self.most = self.begun = self.ended = 0

    def prep(self, _: Any) -> Any:
        match self.plan.source:
            case "list":
                self.pulled = -1  # a list is not seen being pulled
                return list(range(len(self.plan.fates)))
            case "iterator":
                return self.counted()
        return self.awaited()

    def counted(self) -> Iterator[int]:
        for index in range(len(self.plan.fates)):
            self.pulled += 1
            yield index

    async def awaited(self) -> AsyncIterator[int]:
        for index in range(len(self.plan.fates)):
            await asyncio.sleep(index % 2)
            self.pulled += 1
            yield index

    async def exec(self, item: int) -> int:
        fate = self.plan.fates[item]
        self.running += 1
        self.begun += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(fate.delay)
            if self.attempt <= fate.failures or fate.end == "fail":
                raise ValueError(item)
            if fate.end == "drop":
                raise Drop
            if fate.end == "hang":
                await asyncio.Event().wait()
            return item * 10
        finally:
            self.running -= 1
            self.ended += 1

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["results"] = results


def item_of(error: BaseException) -> int:
    """Return the item that an error happened on, as its note says."""
    note = next(note for note in error.__notes__ if "item" in note)
    return int(note.split("item ")[1].split(" ")[0])


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def tolerated_by(plan: Plan) -> float:
    """Return how many items may fail before the batch does."""
    match plan.on_error:
        case "raise":
            return 0
        case "collect" | "skip":
            return float("inf")
        case int(number):
            return number
        case share:
            assert isinstance(share, float)
            return share * len(plan.fates)


async def play(plan: Plan) -> None:
    node = Planned(plan)
    events: list[Event] = []
    shared: dict[str, Any] = {}
    cancelled = False

    def cancel() -> None:
        nonlocal cancelled
        cancelled = task.cancel()

    def observe(event: Event) -> None:
        if len(events) == plan.cancel_at:
            asyncio.get_running_loop().call_soon(cancel)
        events.append(event)

    graph = Graph(node, max_workers=plan.cap)
    task = asyncio.create_task(graph.run_async(shared, observers=[observe]))
    await asyncio.wait([task])

    # Every item exactly once: by its events ...
    started = Counter(e.item for e in events if isinstance(e, ItemStarted))
    finished = [e for e in events if isinstance(e, ItemFinished)]
    failed = [e for e in events if isinstance(e, ItemFailed)]
    ended = Counter(e.item for e in (*finished, *failed))
    assert all(count == 1 for count in (started + ended - started).values()), ended
    assert started.keys() <= ended.keys()
    assert sorted(ended) == list(range(len(ended)))  # pulled in order, and none is missing
    assert node.pulled in (-1, len(ended))
    assert (node.running, node.begun) == (0, node.ended)
    assert node.most <= min(plan.max_workers, plan.cap or plan.max_workers)

    # ... and as the oracle says.
    expected = [oracle(fate, plan.attempts) for fate in plan.fates]
    bad = [index for index, (status, _) in enumerate(expected) if status in ("failed", "timed_out")]
    for event in finished:
        assert expected[event.item] == ("ok", event.attempts)
    for event in failed:
        if event.status != "cancelled":
            status, attempts = expected[event.item]
            if plan.on_error == "skip" and status != "ok":
                status = "skipped"
            assert (event.status, event.attempts) == (status, attempts)

    if cancelled:
        assert task.cancelled()
        return
    tolerated = tolerated_by(plan)
    if len(bad) > tolerated:
        error = task.exception()
        assert error is not None
        assert isinstance(error, TooManyFailuresError) or plan.on_error == "raise", error
        items = [item_of(leaf) for leaf in leaves(error)]
        assert len(items) == len(set(items)) > tolerated
        assert set(items) <= set(bad)
        return
    assert task.exception() is None, task.exception()
    assert len(ended) == len(plan.fates)
    results = []
    for index, (status, _) in enumerate(expected):
        if status == "ok":
            results.append(index * 10)
        elif status != "skipped" and plan.on_error != "skip":
            results.append((index, status))
    got = [(r.index, r.status) if isinstance(r, Outcome) else r for r in shared["results"]]
    assert got == results if plan.ordered else sorted(map(str, got)) == sorted(map(str, results))


@settings(max_examples=200, deadline=None)
@given(PLANS)
def test_every_item_is_accounted_for_exactly_once(plan: Plan) -> None:
    """submitted = ok + failed + skipped + cancelled + timed_out, whatever happens."""
    run_virtually(play(plan))


@settings(max_examples=100, deadline=None)
@given(PLANS)
def test_a_stream_gives_an_outcome_for_every_item(plan: Plan) -> None:
    """Each item comes out of stream() once, with the oracle's status, attempts and value."""

    async def read() -> list[Outcome[Any]]:
        node = Planned(plan)
        node.on_error = "collect"
        async with aclosing(node.stream()) as outcomes:
            return [outcome async for outcome in outcomes]

    got = sorted(run_virtually(read()), key=lambda outcome: outcome.index)
    expected = [oracle(fate, plan.attempts) for fate in plan.fates]
    assert [(o.status, o.attempts) for o in got] == expected
    assert [(o.index, o.item) for o in got] == [(i, i) for i in range(len(expected))]
    assert all(o.value == o.index * 10 and o.error is None for o in got if o.ok)
    assert all(o.value is None and o.error is not None for o in got if not o.ok)
    assert all(isinstance(o.error, AttemptTimeoutError) for o in got if o.status == "timed_out")
