"""Limits that learn from how calls go: circuit breakers on nodes, and ``max_workers="auto"``."""

import asyncio
from typing import Any

import pytest

from kaygraph import (
    CircuitBreaker,
    CircuitChanged,
    CircuitOpenError,
    Graph,
    LimitChanged,
    Node,
    Outcome,
    ParallelBatchNode,
    RateLimit,
)
from kaygraph.limits.adaptive import INITIAL_LIMIT
from kaygraph.limits.permits import AutoPermits
from kaygraph.testing import assert_accounted, simulate
from tests.calls import Gauge, Takes, now
from tests.clock import VIRTUAL
from tests.stages import Read

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return VIRTUAL


# --- a breaker on a node ---


class Service(ParallelBatchNode[Any, Any]):
    """Calls something that works from a certain second on; notes who has called when."""

    max_workers = 1
    on_error = "collect"

    def __init__(self, items: int, works_from: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.items, self.works_from = items, works_from
        self.calls: list[tuple[float, int]] = []

    def prep(self, _: Any) -> range:
        return range(self.items)

    async def exec(self, item: int) -> int:
        self.calls.append((now(), item))
        await asyncio.sleep(1)
        if now() < self.works_from:
            raise OSError("down")
        return item

    def post(self, shared: Any, _: Any, results: list[Any]) -> None:
        shared[self.name] = [
            (type(result.error).__name__, result.attempts)
            if isinstance(result, Outcome)
            else result
            for result in results
        ]


DOWN = float("inf")


async def test_breaker_opens_and_no_more_calls_are_made() -> None:
    """Three failures in a row; the others fail at once, with no attempt begun."""
    node, shared, events = (
        Service(6, DOWN, breaker=CircuitBreaker(3)),
        dict[str, Any](),
        list[Any](),
    )
    await node.run_async(shared, observers=[events.append])
    assert shared["Service"] == [("OSError", 1)] * 3 + [("CircuitOpenError", 0)] * 3
    assert node.calls == [(0, 0), (1, 1), (2, 2)]
    assert [e for e in events if isinstance(e, CircuitChanged)] == [
        CircuitChanged("Service", 3, "open")
    ]
    assert_accounted(events)
    assert now() == 3


async def test_open_circuit_is_not_tried_again() -> None:
    """The first attempt opens it, the second is refused, and no third follows."""
    node, shared = Service(1, DOWN, breaker=CircuitBreaker(1), max_retries=5, wait=2), {}
    await node.run_async(shared)
    assert shared["Service"] == [("CircuitOpenError", 1)]
    assert now() == 3


async def test_fallback_stands_in_for_a_call_that_was_not_made() -> None:
    """It gets the CircuitOpenError, which says when to come back."""

    class Cached(Service):
        def exec_fallback(self, item: int, error: Exception) -> Any:
            return item, error.retry_after if isinstance(error, CircuitOpenError) else "down"

    shared: dict[str, Any] = {}
    await Cached(3, DOWN, breaker=CircuitBreaker(1, reset_after=8)).run_async(shared)
    assert shared["Cached"] == [(0, "down"), (1, 8), (2, 8)]


async def test_one_item_of_a_batch_is_the_probe() -> None:
    """After reset_after one call is made while the others are refused; then it closes."""
    breaker, shared, events = CircuitBreaker(1, reset_after=5), dict[str, Any](), list[Any]()
    first, pause, second = Service(2, 3, name="first"), Takes(9), Service(4, 3, name="second")
    first.breaker = second.breaker = breaker
    second.max_workers = 3
    await Graph(first >> pause >> second).run_async(shared, observers=[events.append])
    assert shared["first"] == [("OSError", 1), ("CircuitOpenError", 0)]
    assert shared["second"] == [0, *[("CircuitOpenError", 0)] * 3]
    assert second.calls == [(10, 0)]
    assert breaker.state == "closed"
    moves = [
        (event.node, event.at, event.state) for event in events if type(event) is CircuitChanged
    ]
    assert moves == [("first", 1, "open"), ("second", 10, "half_open"), ("second", 11, "closed")]
    assert_accounted(events)


async def test_nodes_share_a_breaker() -> None:
    """What one has found out saves the other its calls."""
    breaker = CircuitBreaker(2)
    first, second = (Service(3, DOWN, name=name, breaker=breaker) for name in ("a", "b"))
    shared: dict[str, Any] = {}
    await Graph(first >> second).run_async(shared)
    assert second.calls == []
    assert shared["b"] == [("CircuitOpenError", 0)] * 3


async def test_call_that_was_not_made_does_not_count_for_the_rate() -> None:
    """Two wait for the rate when the breaker opens: the next window is free for other nodes."""
    rate = RateLimit(1, per=2)
    down = Service(3, DOWN, rate=rate, breaker=CircuitBreaker(1), max_workers=3)
    up = Service(1, 0, name="up", rate=rate)
    shared: dict[str, Any] = {}
    await Graph(down >> up).run_async(shared)
    assert (len(down.calls), shared["up"]) == (1, [0])
    assert up.calls == [(2, 0)]


# --- a limit that finds itself ---


class Auto(ParallelBatchNode[Any, Any]):
    """Calls a service that does so many at once without a queue; keeps its results."""

    max_workers = "auto"
    items = 1500
    knee = 24
    refuses = 10_000  # with a 429, when more are in flight

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.gauge = Gauge()

    def prep(self, _: Any) -> range:
        return range(self.items)

    async def exec(self, item: int) -> int:
        if self.gauge.running >= self.refuses:
            raise TooManyRequests
        await self.gauge(max(1, (self.gauge.running + 1) / self.knee))
        return item

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared[self.name] = results


class TooManyRequests(Exception):  # noqa: N818 - it is a status
    status = 429


async def test_limit_finds_itself_and_results_keep_their_order() -> None:
    """It begins small, grows towards the knee, and says so."""
    node, shared, events = Auto(), dict[str, Any](), list[Any]()
    await node.run_async(shared, observers=[events.append])
    assert shared["Auto"] == list(range(1500))
    limits = [event.limit for event in events if isinstance(event, LimitChanged)]
    assert limits[0] > INITIAL_LIMIT
    assert 24 <= limits[-1] <= 48
    assert node.gauge.most <= max(limits)
    assert now() < 3 * 1500 / 24
    assert_accounted(events)


def test_limit_stays_under_what_is_refused() -> None:
    """429s are tried again and few; nothing is left behind."""
    node = Auto(max_retries=50, wait=1)
    node.refuses, shared = 4, dict[str, Any]()
    result = simulate(node, shared)
    assert shared["Auto"] == list(range(1500))
    assert result.left == []
    assert [e for e in result.events if isinstance(e, LimitChanged)][-1].limit <= 5
    retries = result.report.nodes["Auto"].retries
    assert retries < 150


async def test_limit_that_finds_itself_stays_under_a_graphs_cap() -> None:
    """All caps hold."""
    node = Auto()
    node.items = 60
    await Graph(node, max_workers=3).run_async({})
    assert node.gauge.most == 3
    assert now() == 20


async def test_stage_of_a_pipeline_finds_its_limit() -> None:
    """Results come in order, and it says what it found."""
    events, results = list[Any](), list[Any]()

    class Stores(Node[Any, Any]):
        async def exec(self, item: int) -> None:
            results.append(item)

    node = Auto()
    node.items = 400
    source = Read(range(400))
    await Graph(source | node | Stores()).run_async({}, observers=[events.append])
    assert results == list(range(400))
    assert any(isinstance(event, LimitChanged) for event in events)
    assert_accounted(events)


async def test_limit_learns_nothing_from_a_call_that_was_not_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An item that an open breaker refuses, when its turn has come, took no time at all."""
    samples = list[float]()
    monkeypatch.setattr(AutoPermits, "sampled", lambda _, seconds, *__: samples.append(seconds))
    node = Service(4, DOWN, max_workers="auto", limit_by=lambda _: "", breaker=CircuitBreaker(1))
    await node.run_async({})
    assert samples == [1]
