"""Time limits of every kind, nested at random: the earliest wins, at that very moment.

The oracle knows nothing of tasks or cancellations: it adds up seconds, and of what runs at once it
takes the first that fails.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kaygraph import BatchGraph, DeadlineExceededError, Graph, Node, ParallelBatchNode
from kaygraph.errors import AttemptTimeoutError
from tests.clock import run_virtually

CLOSE_S = 1e-6  # moments nearer to each other than this have no order

seconds = st.integers(1, 99).map(lambda tenths: tenths / 10)
limit = st.one_of(st.none(), st.integers(1, 150).map(lambda tenths: tenths / 10))


@dataclass
class End:
    """When something ends by itself, and the error that it ends with."""

    at: float
    error: str | None = None


@dataclass
class Oracle:
    """Says when and how a part of a plan ends; ``moments`` are all at which something may."""

    moments: list[tuple[float, str]] = field(default_factory=list)

    def natural(self, start: float, takes: float, name: str) -> End:
        self.moments.append((start + takes, f"end of {name}"))
        return End(start + takes)

    def limited(self, end: End, start: float, what: str, setting: str, most: float | None) -> End:
        if most is None:
            return end
        error = f"{what} ran longer than {setting}={most:g} s"
        self.moments.append((start + most, error))
        return end if end.at < start + most else End(start + most, error)

    def item(self, part: "Item", name: str, start: float, takes: float) -> End:
        what, begun = f"exec of {name!r}", start
        for attempt in range(part.attempts):
            end = self.natural(begun, takes, name)
            end = self.limited(end, begun, what, "timeout", part.timeout)
            if end.error is None or attempt == part.attempts - 1:
                break
            begun = end.at + part.wait
        return self.limited(end, start, what, "deadline", part.deadline)

    def together(self, ends: Sequence[End]) -> End:
        failed = [end for end in ends if end.error is not None]
        if failed:
            return min(failed, key=lambda end: end.at)
        return max(ends, key=lambda end: end.at)


@dataclass
class Item:
    """A node, or a batch that works on all of its items at once."""

    name: str
    before: float  # seconds in prep, which no limit of the node itself covers
    takes: list[float]
    timeout: float | None
    deadline: float | None
    attempts: int
    wait: float
    batch_deadline: float | None
    batch: bool

    def node(self) -> Any:
        limits: dict[str, Any] = {"timeout": self.timeout, "deadline": self.deadline}
        retries: dict[str, Any] = {"max_retries": self.attempts, "wait": self.wait}
        if not self.batch:
            return One(self, **limits, **retries, name=self.name)
        whole = {"batch_deadline": self.batch_deadline}
        return Many(self, **limits, **retries, **whole, name=self.name)

    def end(self, oracle: Oracle, start: float) -> End:
        start += self.before
        ends = [oracle.item(self, self.name, start, takes) for takes in self.takes]
        if not self.batch:
            return ends[0]
        end = oracle.together(ends)
        name = repr(self.name)
        return oracle.limited(end, start, name, "batch_deadline", self.batch_deadline)


@dataclass
class Walked:
    """A graph over parts one after another or all at once; or so many rounds of it."""

    name: str
    before: float
    parts: "list[Item | Walked]"
    at_once: bool
    deadline: float | None
    rounds: int  # 0: a Graph

    def node(self) -> Any:
        parts = [part.node() for part in self.parts]
        start: Any = parts
        if not self.at_once:
            start = parts[0]
            for part in parts[1:]:
                start = start >> part
        if self.rounds:
            return Rounds(self, start)
        return Walks(self, start, deadline=self.deadline, name=self.name)

    def end(self, oracle: Oracle, start: float) -> End:
        end = End(start + self.before)
        for _ in range(self.rounds or 1):
            if end.error is None:
                end = self.walk(oracle, end.at)
        return end

    def walk(self, oracle: Oracle, start: float) -> End:
        if self.at_once:
            end = oracle.together([part.end(oracle, start) for part in self.parts])
        else:
            end = End(start)
            for part in self.parts:
                if end.error is None:
                    end = part.end(oracle, end.at)
        return oracle.limited(end, start, repr(self.name), "deadline", self.deadline)


class One(Node[Any, Any]):
    def __init__(self, part: Item, **limits: Any) -> None:
        super().__init__(**limits)
        self.part = part

    async def prep(self, _: Any) -> Any:
        await asyncio.sleep(self.part.before)
        return self.part.takes[0]

    async def exec(self, takes: float) -> None:
        await asyncio.sleep(takes)


class Many(ParallelBatchNode[Any, Any]):
    def __init__(self, part: Item, **limits: Any) -> None:
        super().__init__(**limits)
        self.part = part

    async def prep(self, _: Any) -> Any:
        await asyncio.sleep(self.part.before)
        return self.part.takes

    async def exec(self, takes: float) -> None:
        await asyncio.sleep(takes)


class Walks(Graph):
    def __init__(self, part: Walked, start: Any, **limits: Any) -> None:
        super().__init__(start, **limits)
        self.part = part

    async def prep(self, _: Any) -> Any:
        await asyncio.sleep(self.part.before)


class Rounds(BatchGraph):
    def __init__(self, part: Walked, start: Any) -> None:
        super().__init__(start, deadline=part.deadline, name=part.name)
        self.part = part

    async def prep(self, _: Any) -> Sequence[Mapping[str, Any]]:
        await asyncio.sleep(self.part.before)
        return [{}] * self.part.rounds


@st.composite
def plans(draw: st.DrawFn) -> Walked:
    """Up to four graphs deep; each part has a name of its own."""
    numbers = count(1)

    def part(depth: int) -> Item | Walked:
        number = next(numbers)
        if depth and draw(st.booleans()):
            return walked(depth, number)
        batch = draw(st.booleans())
        takes = draw(st.lists(seconds, min_size=1, max_size=4 if batch else 1))
        return Item(
            f"node {number}", draw(seconds), takes, draw(limit), draw(limit),
            draw(st.integers(1, 3)), draw(seconds), draw(limit), batch,
        )  # fmt: skip

    def walked(depth: int, number: int) -> Walked:
        parts = [part(depth - 1) for _ in range(draw(st.integers(1, 3)))]
        rounds = draw(st.sampled_from([0, 0, 0, 1, 2]))
        name = f"graph {number}"
        return Walked(name, draw(seconds), parts, draw(st.booleans()), draw(limit), rounds)

    return walked(4, 0)


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


@pytest.mark.proofs
@settings(max_examples=300, deadline=None, derandomize=True)
@given(plans(), st.one_of(st.none(), st.integers(1, 300).map(lambda tenths: tenths / 10)))
def test_earliest_limit_wins_at_that_very_moment(plan: Walked, deadline: float | None) -> None:
    """Timeouts and deadlines of items, batches, rounds, graphs and the run, with error 0."""
    oracle = Oracle()
    of_run = "the run of 'graph 0'"
    expected = oracle.limited(plan.end(oracle, 0.0), 0.0, of_run, "deadline", deadline)
    moments = sorted(oracle.moments)
    assume(all(a[1] == b[1] or b[0] - a[0] > CLOSE_S for a, b in pairwise(moments)))
    graph = plan.node()

    async def play() -> tuple[float, list[BaseException]]:
        errors: list[BaseException] = []
        try:
            await graph.run_async({}, deadline=deadline)
        except* AttemptTimeoutError as group:  # several items of a batch may fail at one moment
            errors = leaves(group)
        assert len(asyncio.all_tasks()) == 1
        return asyncio.get_running_loop().time(), errors

    ended_at, errors = run_virtually(play())
    assert ended_at == expected.at
    texts = {re.sub("'.*/", "'", str(error)) for error in errors}  # without the graphs around
    assert texts == ({expected.error} if expected.error else set())
    for error in errors:
        assert isinstance(error, DeadlineExceededError) == ("timeout=" not in str(error))
