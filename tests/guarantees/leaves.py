"""Nodes that do to each item what was planned for it, and count what they are given.

What must hold at every step is looked at where it could break, at the beginning of each call of
``exec``: a cap can be exceeded nowhere else.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kaygraph import BatchNode, Drop, Node, Outcome, ParallelBatchNode, RateLimit

Round = tuple[Any, ...]  # the params of the BatchGraphs around, outermost first
Place = tuple[str, Round, Any]  # a node's name, the round, the item

TIMEOUT_S = 8.0  # of every attempt; nothing that does not hang takes so long


@dataclass(frozen=True, slots=True)
class Fate:
    """What an item does: every attempt takes its time, some fail first, then it ends in a way."""

    seconds: float
    failures: int
    end: str  # ok, hang, drop, fail

    def after(self, attempts: int) -> tuple[str, int]:
        """Return the status with which it ends when it is tried so often, and the attempts."""
        for attempt in range(1, attempts + 1):
            if attempt > self.failures:
                if self.end == "ok":
                    return "ok", attempt
                if self.end == "drop":
                    return "skipped", attempt
                if attempt == attempts:
                    return ("timed_out" if self.end == "hang" else "failed"), attempt
        return "failed", attempts


class Count:
    """How many are within a cap now, and the most there have been.

    Attributes:
        log: When calls began (1) and ended (-1), those of threads included. A simulation runs a
            call of a thread at once, and lets it take its time afterwards.
    """

    __slots__ = ("limit", "log", "most", "name", "now")

    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = name, limit
        self.now = self.most = 0
        self.log: list[tuple[float, int]] = []

    def busiest(self) -> int:
        """Return the most there have been by the log; of one moment, ends come first."""
        now = most = 0
        for _, change in sorted(self.log):
            now += change
            most = max(most, now)
        return most


class Rounds:
    """Which rounds of a BatchGraph are in flight, as far as their nodes' work shows it."""

    def __init__(self, name: str, depth: int, limit: int) -> None:
        self.name, self.depth, self.limit = name, depth, limit
        self.running: Counter[Round] = Counter()
        self.most = 0


class Rate:
    """A RateLimit and the calls begun under it."""

    def __init__(self, calls: int, per: float, weighted: bool) -> None:
        self.calls, self.per = calls, per
        self.limit = RateLimit(calls, per, weight=self.weight_of) if weighted else None
        self.limit = self.limit or RateLimit(calls, per)
        self.weighted = weighted
        self.log: list[tuple[float, int]] = []

    @staticmethod
    def weight_of(item: Any) -> int:
        return 1 + hash(item) % 2

    def begin(self, item: Any, now: float) -> None:
        self.log.append((now, self.weight_of(item) if self.weighted else 1))

    def busiest(self) -> int:
        """Return the most that was begun in any window."""
        window: deque[tuple[float, int]] = deque()
        used = most = 0
        for at, weight in self.log:
            window.append((at, weight))
            used += weight
            while window[0][0] + self.per <= at:
                used -= window.popleft()[1]
            most = max(most, used)
        return most


@dataclass(slots=True)
class Play:
    """What was planned for a run, and what is seen of it."""

    fates: dict[Place, Fate] = field(default_factory=dict)
    calls: Counter[Place] = field(default_factory=Counter)
    posted: dict[tuple[str, Round], Any] = field(default_factory=dict)
    reports: dict[tuple[str, Round], Any] = field(default_factory=dict)
    counts: list[Count] = field(default_factory=list)
    rounds: list[Rounds] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    keys: list[dict[Any, Count]] = field(default_factory=list)
    nested: list[list[Count]] = field(default_factory=list)  # the caps over each node, together
    broken: list[str] = field(default_factory=list)
    entries: int = 0
    blocks: bool = False  # whether calls in threads are under the caps as well
    loop: Any = None

    def count(self, name: str, limit: int) -> Count:
        self.counts.append(Count(name, limit))
        return self.counts[-1]


class Caps:
    """All that a node's work is counted in."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.counts: list[Count] = []
        self.rounds: list[Rounds] = []
        self.rates: list[Rate] = []
        self.by_key: dict[Any, Count] | None = None
        self.most_per_key = 1
        self.stage = 0.0  # whether it stands in a pipeline, where values go on to the next

    def key_of(self, item: Any) -> int:
        return hash(item) % 2

    @contextmanager
    def entered(self, node: Any, item: Any, round_: Round) -> Iterator[Fate]:
        """Count a call of ``exec`` from its first step to its last."""
        play, place = self.play, (node.name, round_, item)
        play.entries += 1
        play.calls[place] += 1
        if node.attempt != play.calls[place]:
            play.broken.append(f"{place} is called for the {play.calls[place]}. time and told "
                               f"that it is attempt {node.attempt}")  # fmt: skip
        counts = self.counts
        if self.by_key is not None:
            key = self.key_of(item)
            if key not in self.by_key:
                self.by_key[key] = Count(f"key {key} of {node.name}", self.most_per_key)
            counts = [*counts, self.by_key[key]]
        for count in counts:
            count.now += 1
            if count.now > count.most:
                count.most = count.now
                if count.now > count.limit:
                    play.broken.append(f"{count.now} of {count.limit} in {count.name}")
        for rounds in self.rounds:
            rounds.running[round_[: rounds.depth]] += 1
            rounds.most = max(rounds.most, len(rounds.running))
            if len(rounds.running) > rounds.limit:
                play.broken.append(f"{len(rounds.running)} rounds at once in {rounds.name}")
        now = play.loop.time()
        if self.rates:
            for rate in self.rates:
                rate.begin(item, now)
        try:
            fate = play.fates.get(place)
            if fate is None:
                play.broken.append(f"{place} is not known to the oracle")
                fate = Fate(0.0, 0, "ok")
            yield fate
        finally:
            for count in counts:
                count.now -= 1
                if play.blocks:
                    count.log += [(now, 1), (play.loop.time(), -1)]
            for rounds in self.rounds:
                rounds.running[round_[: rounds.depth]] -= 1
                rounds.running += Counter()  # forgets those that are at 0


def round_of(node: Any) -> Round:
    return tuple(node.params.values())


def value_of(item: int) -> int:
    """The result of the work on an item; no two items have the same."""
    return 4 * item


def fallback_of(item: int) -> int:
    return -1 - 4 * item


def end(fate: Fate, attempt: int, item: int) -> int:
    if attempt <= fate.failures or fate.end == "fail":
        raise ValueError(item)
    if fate.end == "drop":
        raise Drop
    return value_of(item)


async def work(node: Any, item: int) -> int:
    """The work of all nodes written ``async def``."""
    with node.caps.entered(node, item, round_of(node)) as fate:
        if fate.seconds:
            await asyncio.sleep(fate.seconds)
        if fate.end == "hang" and node.attempt > fate.failures:
            await asyncio.get_running_loop().create_future()
        return end(fate, node.attempt, item)


def keep(node: Any, result: Any) -> None:
    """The ``post`` of all nodes."""
    play: Play = node.caps.play
    place = (node.name, round_of(node))
    if place in play.posted:
        play.broken.append(f"{place} is done twice")
    play.posted[place] = result


class Single(Node[Any, Any]):
    """One item."""

    caps: Caps

    def prep(self, _: Any) -> int:
        return 1

    async def exec(self, item: int) -> int:
        return await work(self, item)

    def post(self, _: Any, __: Any, result: Any) -> None:
        keep(self, result)


class SingleWithFallback(Single):
    def exec_fallback(self, item: int, _: Exception) -> int:
        return fallback_of(item)


class Many(ParallelBatchNode[Any, Any]):
    """Items from a list, a generator or an async generator."""

    caps: Caps
    items: Sequence[int] = ()
    source = "list"

    def prep(self, _: Any) -> Any:
        if self.source == "list":
            return self.items
        return self._awaited() if self.source == "async" else iter(self.items)

    async def _awaited(self) -> AsyncIterator[int]:
        for item in self.items:
            await asyncio.sleep(item % 2)
            yield item

    async def exec(self, item: int) -> int:
        return await work(self, item)

    def post(self, _: Any, __: Any, result: Any) -> None:
        keep(self, result)


class ManyWithFallback(Many):
    async def exec_fallback(self, item: int, _: Exception) -> int:
        return fallback_of(item)


class Blocking(Many):
    """Works in threads; what hangs is over some time after its timeout, and counts until then."""

    def exec(self, item: int) -> int:  # type: ignore[override]
        caps = self.caps
        play, place = caps.play, (self.name, round_of(self), item)
        play.calls[place] += 1
        fate = play.fates[place]
        hangs = fate.end == "hang" and self.attempt > fate.failures
        seconds = fate.seconds + (TIMEOUT_S if hangs else 0.0)
        now = play.loop.time()
        for count in caps.counts:
            count.log += [(now, 1), (now + seconds, -1)]
        time.sleep(seconds)
        return end(fate, self.attempt, item)


class Splitting(Many):
    """A stage of a pipeline that makes several of one."""

    async def exec(self, item: int) -> AsyncIterator[int]:  # type: ignore[override]
        value = await work(self, item)
        for number in range(pieces_of(item)):
            yield value + number


def pieces_of(item: int) -> int:
    return item % 3


class OneByOne(BatchNode[Any, Any]):
    caps: Caps
    items: Sequence[int] = ()

    def prep(self, _: Any) -> Any:
        return self.items

    async def exec(self, item: int) -> int:
        return await work(self, item)

    def post(self, _: Any, __: Any, result: Any) -> None:
        keep(self, result)


def plain(result: Any) -> Any:
    """Return an Outcome as something to compare."""
    if isinstance(result, Outcome):
        return (result.status, result.item, result.attempts)
    return result
