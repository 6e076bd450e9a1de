"""Limits: never exceeded, never in the way of those whom they do not concern, and shared fairly."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kaygraph import BaseNode, BatchGraph, Graph, ParallelBatchNode, RateLimit
from tests.planted.exploring import assert_holds

LIMIT_SEEDS = 100

PER_S = 10.0
AHEAD = 4  # items that one of two batches with two workers each may have had more than the other
RATED_CALLS = 48  # two rounds of eight items, and of eight items that are tried twice
WAIT_S = 1000.0  # before another attempt: nobody else may have to wait for so long


@dataclass
class Call:
    """A call of exec."""

    node: str
    key: int
    began: float
    ended: float | None = None


@dataclass
class Limited:
    """What was drawn for a run, and its calls.

    Attributes:
        most: Per limit, the most calls at once, and which of them it counts.
        rate: The most calls that begin within PER_S seconds; None: as many as like.
        wrong: What must not happen and did.
    """

    most: dict[str, tuple[int, Callable[[Call], bool]]]
    rate: int | None
    calls: list[Call] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def begin(self, node: str, item: int) -> Call:
        """Note a call that begins, and look whether it may."""
        now = _now()
        self.calls.append(Call(node, item % 2, now))
        running = [call for call in self.calls if call.ended is None]
        for name, (most, counted) in self.most.items():
            number = sum(map(counted, running))
            if number > most:
                self.wrong.append(f"{number} calls at once, {name} allows {most}")
        if self.rate is not None:
            rated = [call for call in self.calls if call.node.startswith("inner")]
            lately = sum(call.began > now - PER_S + 1e-9 for call in rated)
            if lately > self.rate:
                self.wrong.append(f"{lately} calls in {PER_S:g} s, {self.rate} may be")
        return self.calls[-1]

    def worked(self) -> float:
        """Return how many seconds all calls have taken up to now."""
        return sum((_now() if c.ended is None else c.ended) - c.began for c in self.calls)


class Calls(ParallelBatchNode[int, None]):
    """Items that take a second each; the first attempts at them may fail."""

    def __init__(self, limited: Limited, failures: int = 0, **settings: Any) -> None:
        super().__init__(failures + 1, WAIT_S, **settings)
        self.limited, self.failures = limited, failures

    def prep(self, _: Any) -> range:
        return range(8)

    async def exec(self, item: int) -> None:
        call = self.limited.begin(self.name, item)
        try:
            await asyncio.sleep(1.0)
            if self.attempt <= self.failures:
                raise ValueError(item)
        finally:
            call.ended = _now()


class Steady(Calls):
    """Has no limits of its own: as long as it has to wait, somebody works.

    With one exception: those in the line for a rate may keep the permits that they have.
    """

    def post(self, _: Any, __: Any, ___: Any) -> None:
        rate = self.limited.rate
        in_line = 0.0 if rate is None else RATED_CALLS / rate * PER_S
        waited = _now() - self.limited.worked()
        if waited > in_line:
            self.limited.wrong.append(f"{self.name} waited for {waited:g} s while nobody worked")


class Rounds(BatchGraph):
    """The same graph twice at once."""

    def prep(self, _: Any) -> list[dict[str, int]]:
        return [{"round": number} for number in range(2)]


def drawn() -> tuple[BaseNode[Any, Any], Limited]:
    """Draw a graph that is full of limits, and return it with what they are."""
    outer, inner, workers, keys = (random.randint(1, 3) for _ in range(4))
    calls = random.choice([None, None, 1, 2, 3])
    limited = Limited(
        {
            "the outer graph": (outer, lambda call: True),
            "the inner graph": (inner, lambda call: call.node.startswith("inner")),
            "a node": (workers, lambda call: call.node == "inner keyed"),
            "the even key": (keys, lambda call: call.node == "inner keyed" and not call.key),
            "the odd key": (keys, lambda call: call.node == "inner keyed" and call.key == 1),
        },
        calls,
    )
    rate: Any = {} if calls is None else {"rate": RateLimit(calls, PER_S)}
    by_key: Any = {"limit_by": lambda item: item % 2, "max_per_key": keys}
    keyed = Calls(limited, name="inner keyed", max_workers=workers, **by_key, **rate)
    waiting = random.choice([0, None])
    flaky = Calls(limited, 1, name="inner flaky", max_workers=2, max_waiting=waiting, **rate)
    rounds = Rounds(Graph([keyed, flaky], max_workers=inner), max_workers=2)
    steady = [Steady(limited, name=name, max_workers=2) for name in ("left", "right")]
    return Graph([rounds, *steady], max_workers=outer), limited


async def limit(_: Any) -> None:
    """Run what was drawn."""
    graph, limited = drawn()
    await graph.run_async({})
    assert not limited.wrong, limited.wrong
    order = [call.node for call in limited.calls if call.node in ("left", "right")]
    leads = [order[:at].count("left") - order[:at].count("right") for at in range(len(order))]
    lead = max(map(abs, leads))
    assert lead <= AHEAD, f"of two batches in one line, one is {lead} items ahead"


def limits_hold() -> None:
    """Graphs within graphs with every kind of limit, next to batches without any."""
    assert_holds(limit, seeds=LIMIT_SEEDS)


def _now() -> float:
    return asyncio.get_running_loop().time()
