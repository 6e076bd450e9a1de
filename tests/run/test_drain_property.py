"""Runs drained at any time, in any shape: everything taken is accounted for, once."""

import asyncio
import random
from collections import Counter
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kaygraph import (
    CircuitBreaker,
    Drop,
    Graph,
    ItemFailed,
    ItemFinished,
    ParallelBatchNode,
    RateLimit,
)
from kaygraph.testing import assert_accounted
from kaygraph.testing.capture import runs_begun
from tests.clock import run_virtually
from tests.run.draining import Kept, Source
from tests.stages import Read


class Erratic(ParallelBatchNode[Any, Any]):
    """Takes its time, fails, drops and tries again, as a seed says; notes what it has done."""

    def __init__(self, seed: int, items: Any = (), **settings: Any) -> None:
        super().__init__(**settings)
        self.items, self.fates = items, random.Random(seed)
        self.done: list[Any] = []
        self.begun: Counter[Any] = Counter()
        self.miscounted: list[Any] = []  # an error raised in exec would be one of its failures

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, item: Any) -> Any:
        self.begun[item] += 1
        if self.attempt != self.begun[item]:
            self.miscounted.append((item, self.attempt))
        await asyncio.sleep(self.fates.choice([0, 0.5, 1, 3]))
        fate = self.fates.random()
        if fate < 0.1:
            raise Drop
        if fate < 0.3:
            raise ValueError(item)
        self.done.append(item)
        return item

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared[self.name] = results


def checked(events: list[Any], name: str, pulled: int) -> Counter[str]:
    """Check that each item pulled has ended once in a node; return how they ended."""
    assert_accounted(events)
    ended: Counter[str] = Counter()
    for event in events:
        if isinstance(event, ItemFinished | ItemFailed) and event.node == name:
            ended["ok" if isinstance(event, ItemFinished) else event.status] += 1
    assert ended.total() == pulled, ended
    return ended


async def at_random(node: Any, at: float, grace: float | None, events: list[Any]) -> Any:
    """Run and drain; return the shared store. Nothing is left behind."""
    shared: dict[str, Any] = {}
    before = asyncio.all_tasks()
    with runs_begun() as runs:
        task = node.launch(shared, observers=[events.append])
        await asyncio.sleep(at)
        task.drain(grace=grace)
        await task
    assert asyncio.all_tasks() == before
    assert [run.leaks() for run in runs] == [[]]
    return shared


TIMES = st.one_of(st.floats(0, 40), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
GRACES = st.one_of(st.floats(0.01, 4), st.sampled_from([0.5, 1.0]))


@settings(max_examples=150, deadline=None)
@given(
    TIMES, st.none() | GRACES, st.integers(), st.integers(1, 5), st.integers(1, 4),
    st.integers(1, 3), st.booleans(), st.booleans(), st.sampled_from(["skip", "collect", 10**6]),
    st.sets(st.sampled_from(["breaker", "deadline", "rate", "limit_by"])),
)  # fmt: skip
def test_a_batch_drained_at_any_time_accounts_for_all_it_took(
    at: float, grace: float | None, seed: int, workers: int, cap: int, attempts: int,
    ordered: bool, slowly: bool, on_error: Any, limits: set[str],
) -> None:  # fmt: skip
    """What was taken is ok, failed, skipped or cancelled, and the results are what was done."""
    # An open breaker refuses at once: of endless items that come at once there would be no end.
    slowly = slowly or "breaker" in limits
    known: dict[str, Any] = {
        "breaker": CircuitBreaker(failures=2, reset_after=1),
        "deadline": 2.5,
        "rate": RateLimit(3, per=1.5),
        "limit_by": lambda item: item % 2,
    }

    async def play() -> None:
        source, events = Source(wait=0.4), list[Any]()
        node = Erratic(
            seed, source.slowly() if slowly else iter(source), max_workers=workers,
            max_retries=attempts, wait=0.7, ordered=ordered, on_error=on_error,
            **{name: known[name] for name in limits},
        )  # fmt: skip
        shared = await at_random(Graph(node, max_workers=cap), at, grace, events)
        ended = checked(events, "Erratic", source.pulled)
        results = shared["Erratic"]
        values = [result for result in results if isinstance(result, int)]
        assert sorted(values) == sorted(node.done)
        assert not ordered or values == sorted(values)
        assert len(results) - len(values) == ended["failed"] + ended["timed_out"]
        assert len(values) == ended["ok"]
        assert not node.miscounted
        if grace is None:
            assert not ended["cancelled"]

    run_virtually(play())


PIPELINES = st.tuples(
    st.integers(), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 4),
    st.integers(1, 4), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip


async def pipeline_at_random(
    at: float, grace: float | None, seed: int, workers: list[int], buffer: int, cap: int,
    ordered: bool, slowly: bool, reads: bool,
) -> None:  # fmt: skip
    source, events = Source(wait=0.4), list[Any]()
    items: Any = source.slowly() if slowly else iter(source)
    stages: list[Any] = [
        Erratic(
            seed + place, items, max_workers=number, max_retries=2, wait=0.7, ordered=ordered,
            on_error="skip", name=f"s{place}",
        )
        for place, number in enumerate(workers)
    ]  # fmt: skip
    pipeline = Kept(*([Read(items)] if reads else []), *stages, buffer=buffer, name="all")
    shared = await at_random(Graph(pipeline, max_workers=cap), at, grace, events)
    came = source.pulled
    for stage in stages:
        ended = checked(events, f"all/{stage.name}", came)
        came = ended["ok"]
        assert shared[stage.name].ok == came == len(stage.done)
        assert grace is not None or not ended["cancelled"]
    assert sorted(shared["all"]) == sorted(stages[-1].done)
    assert not ordered or shared["all"] == sorted(shared["all"])


@settings(max_examples=100, deadline=None)
@given(TIMES, PIPELINES)
# The last item is tried again while another worker waits for the order to go on.
@example(2.0, (1, [2], 1, 1, True, True, False))
def test_a_pipeline_drained_at_any_time_loses_nothing(at: float, shape: tuple[Any, ...]) -> None:
    """What came into a stage is ok, failed or skipped there; the results are the last stage's."""
    run_virtually(pipeline_at_random(at, None, *shape))


@settings(max_examples=100, deadline=None)
@given(TIMES, GRACES, PIPELINES)
def test_a_pipeline_cut_short_at_any_time_accounts_for_all_it_took(
    at: float, grace: float, shape: tuple[Any, ...]
) -> None:
    """What came into a stage is ok, failed, skipped or cancelled there, and nothing is lost."""
    run_virtually(pipeline_at_random(at, grace, *shape))
