"""Circuit breakers, against one that is written down as plainly as the rules read."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

from kaygraph import (
    BatchGraph,
    CircuitBreaker,
    CircuitOpenError,
    Event,
    Graph,
    ItemFailed,
    ItemFinished,
    ItemStarted,
    Node,
    ParallelBatchNode,
    first_of,
)
from kaygraph.testing import Faults, capture_events
from tests.planted.exploring import assert_holds

BREAKER_SEEDS = 40

FAILURES = 3
RESET_S = 5.0


class Reference:
    """A breaker that gets calls after the fact, and says which ones should not have been made."""

    def __init__(self) -> None:
        self.state = "closed"
        self.streak = self.generation = 0
        self.until = 0.0
        self.probe: int | None = None
        self.running: dict[int, int] = {}  # item -> generation

    def hear(self, event: Event) -> None:
        match event:
            case ItemStarted(_, at, item):
                self.begun(item, at)
            case ItemFinished(_, at, item):
                self.ended(item, at, "ok")
            case ItemFailed(_, at, error=CircuitOpenError()):
                self.refused(at)
            case ItemFailed(_, at, item, status=status, attempts=1):
                self.ended(item, at, status)

    def begun(self, item: int, at: float) -> None:
        if self.state == "open":
            assert at >= self.until, "a call was made while the breaker was open"
            self.move("half_open")
        assert self.probe is None, "a call was made during the probe"
        if self.state == "half_open":
            self.probe = item
        self.running[item] = self.generation

    def refused(self, at: float) -> None:
        is_open = self.state == "open" and at < self.until
        assert is_open or self.probe is not None, f"a call was refused: {self.state}"

    def ended(self, item: int, at: float, how: str) -> None:
        if item == self.probe:
            self.probe = None
        if self.running.pop(item) != self.generation or how == "cancelled":
            return
        self.streak = 0 if how == "ok" else self.streak + 1
        if self.state == "half_open" and how == "ok":
            self.move("closed")
        elif self.state == "half_open" or self.streak == FAILURES:
            self.until = at + RESET_S
            self.move("open")

    def move(self, state: str) -> None:
        self.state = state
        self.generation += 1
        self.streak = 0


class Ask(ParallelBatchNode[int, None]):
    """Calls of a service, that come one by one."""

    max_workers = 3
    on_error = "collect"

    async def prep(self, _: Any) -> AsyncIterator[int]:
        for item in range(20):
            await asyncio.sleep(random.uniform(0, 4))
            yield item

    async def exec(self, _: int) -> None:
        pass


class Wait(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(random.uniform(5, 80))


class Days(BatchGraph):
    """The same again and again."""

    def prep(self, _: Any) -> list[dict[str, int]]:
        return [{"day": number} for number in range(3)]


async def ask(_: Any) -> None:
    """Call a service that often fails, some times until something else is done first."""
    breaker, reference = CircuitBreaker(FAILURES, reset_after=RESET_S), Reference()
    asks = Faults(fail=0.5, delay=(0.0, 12.0)).wrap(Ask(breaker=breaker))
    with capture_events() as events:
        await Days(Graph(first_of(asks, Wait()) >> Wait())).run_async({})
    for event in events:
        if event.node.endswith("Ask"):
            reference.hear(event)
    assert breaker.state == reference.state, f"it is {breaker.state}, not {reference.state}"


def breakers_act_as_the_reference_does() -> None:
    """A service that fails, calls that are cancelled, and a breaker between them."""
    assert_holds(ask, seeds=BREAKER_SEEDS)
