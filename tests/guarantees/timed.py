"""Random graphs with time limits everywhere, and an oracle that says when each part must end.

All seconds are multiples of an eighth, which floats add up without an error: ends can be compared
with ``==``. Cases in which two things end in the same moment, so that either may count, are left
out.
"""

from heapq import heapreplace
from math import inf
from random import Random
from typing import Any, NamedTuple

from kaygraph import Graph, Pipeline, RateLimit
from kaygraph.types import BranchGroup
from tests.guarantees.timed_nodes import (
    ENDLESS,
    SWALLOWING,
    HangsAlways,
    HangsAtTheFirst,
    HangsInReduce,
    Reads,
    ReadsOn,
    Repeats,
    Try,
    Works,
    WorksOften,
    WorksWithFallback,
)


class TieError(Exception):
    """Two things end in the same moment."""


class Ended(NamedTuple):
    """When something ends, by the clock, and what its error says; None when it ends well."""

    at: float
    error: str | None = None


def limited(ended: Ended, start: float, limit: float | None, text: str) -> Ended:
    """Return how something ends that has only so many seconds."""
    if limit is None:
        return ended
    if ended.at == start + limit:
        raise TieError
    if ended.at < start + limit:
        return ended
    return Ended(start + limit, f"{text}={limit:g} s")


class Part:
    """A part of a case: its node, and when it ends if it begins at ``start``."""

    node: Any

    def ends(self, start: float) -> Ended:
        raise NotImplementedError


class Timed:
    """A random case.

    Attributes:
        graph: What runs.
        deadline: Of the run, or None.
        ended: How the run must end.
        items: When items of batches must have ended, by node and index.
        limits: How many time limits there are, by kind.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        while True:
            self.items: dict[tuple[str, int], set[float]] = {}
            self.limits: list[str] = []
            self.made = self.rounds = 0
            whole = self.composite(0)
            self.graph: Any = whole.node
            self.deadline = self.limit("run", 0.4, 8)
            try:
                ended = whole.ends(0.0)
                text = f"the run of {self.graph.name!r} ran longer than deadline"
                self.ended = limited(ended, 0.0, self.deadline, text)
            except TieError:
                continue
            if self.ended.at < inf:
                return

    def named(self, kind: str) -> str:
        self.made += 1
        return f"{kind}{self.made}"

    def limit(self, kind: str, share: float, most: int) -> float | None:
        """Return a limit in seconds, or none."""
        if self.random.random() >= share:
            return None
        self.limits.append(kind)
        return self.random.randint(1, most * 4) / 4 + 0.125

    def part(self, depth: int) -> Part:
        if depth < 3 and self.random.random() < 0.4:
            return self.composite(depth)
        # A node's caps and rates hold over all rounds: there, when items end is not so plain.
        kinds: list[Any] = [One, Hangs] if self.rounds else [One, One, Batch, Batch, Queue, Hangs]
        part: Part = self.random.choice(kinds)(self)
        return part

    def composite(self, depth: int) -> Part:
        kinds: list[Any] = [Line, Line, Fork, Group] + [InRounds] * (not self.rounds)
        part: Part = self.random.choice(kinds)(self, depth)
        return part

    def tries(self, count: int, *more: str) -> tuple[Try, ...]:
        ends = ("ok", "ok", "fail", "hang", *more)
        choice = self.random.choice
        return tuple(Try(self.random.randint(0, 8) / 4, choice(ends)) for _ in range(count))

    def limits_of(self, node: Any) -> None:
        node.timeout = self.limit("timeout", 0.6, 2)
        node.deadline = self.limit("deadline", 0.4, 4)
        node.wait = self.random.choice((0.0, 0.0, 0.25, 1.0))


def tried(node: Any, tries: tuple[Try, ...], start: float) -> Ended:
    """Return how an item ends, attempt by attempt."""
    at, error = start, None
    for number, planned in enumerate(tries, 1):
        seconds = inf if planned.end in ENDLESS else planned.seconds
        ended = Ended(at + seconds, f"{node.name} fails" if planned.end == "fail" else None)
        text = f"exec of {node.name!r} ran longer than timeout"
        at, error = limited(ended, at, node.timeout, text)
        if error is None:
            break
        if number < len(tries):
            at += node.wait
    text = f"exec of {node.name!r} ran longer than deadline"
    return limited(Ended(at, error), start, node.deadline, text)


class One(Part):
    def __init__(self, timed: Timed) -> None:
        kind = timed.random.choice((Works, Works, WorksWithFallback))
        self.node = kind(name=timed.named("one"))
        self.node.tries = timed.tries(timed.random.randint(1, 3))
        self.node.max_retries = len(self.node.tries)
        timed.limits_of(self.node)

    def ends(self, start: float) -> Ended:
        ended = tried(self.node, self.node.tries, start)
        return Ended(ended.at) if isinstance(self.node, WorksWithFallback) else ended


class Batch(Part):
    def __init__(self, timed: Timed) -> None:
        self.timed = timed
        self.node = node = WorksOften(name=timed.named("batch"))
        node.max_retries = timed.random.randint(1, 2)
        node.items = tuple(
            timed.tries(node.max_retries, *SWALLOWING) for _ in range(timed.random.randint(1, 4))
        )
        node.max_workers = timed.random.randint(1, 3)
        node.on_error = timed.random.choice(("raise", "collect", "collect"))
        node.source_hangs = timed.random.random() < 0.1
        node.batch_deadline = timed.limit("batch_deadline", 0.4, 8)
        timed.limits_of(node)
        if node.max_workers < len(node.items):
            node.max_waiting = 0  # an item keeps its worker, so that it is plain who comes next

    def ends(self, start: float) -> Ended:
        node = self.node
        free = [start] * node.max_workers  # when each worker has time
        last, first_error = Ended(start), Ended(inf)
        for index, item in enumerate(node.items):
            ended = tried(node, item, free[0])
            heapreplace(free, ended.at)
            if not any(planned.end in SWALLOWING for planned in item):
                self.timed.items.setdefault((node.name, index), set()).add(ended.at)
            last = max(last, Ended(ended.at), key=lambda one: one.at)
            if ended.error is not None:
                first_error = earliest(first_error, ended)
        ended = first_error if node.on_error == "raise" and first_error.at < inf else last
        if node.source_hangs and ended.error is None:
            ended = Ended(inf)
        return limited(
            ended, start, node.batch_deadline, f"{node.name}' ran longer than batch_deadline"
        )


def earliest(one: Ended, other: Ended) -> Ended:
    """Return the error that comes first."""
    if one.at == other.at < inf:
        raise TieError
    return min(one, other, key=lambda ended: ended.at)


class Queue(Part):
    """Items that wait for a key or a rate: the wait is part of their deadline."""

    def __init__(self, timed: Timed) -> None:
        self.timed = timed
        count = timed.random.randint(2, 4)
        self.seconds = timed.random.randint(1, 4) / 4
        self.node = node = WorksOften(name=timed.named("queue"), max_workers=count)
        node.items = ((Try(self.seconds, "ok"),),) * count
        node.on_error = "collect"
        node.deadline = timed.limit("deadline", 1, 3)
        self.pause = 0.0  # between two starts, where nobody waits for the one before
        if timed.random.random() < 0.5:
            node.limit_by = lambda _: "all"
        else:
            self.pause = timed.random.randint(1, 4) / 4
            node.rate = RateLimit(1, per=self.pause)

    def ends(self, start: float) -> Ended:
        begins, last = start, start
        ends = set()
        for _ in self.node.items:
            ended = limited(Ended(begins + self.seconds), start, self.node.deadline, "")
            ends.add(ended.at)
            last = max(last, ended.at)
            begins = begins + self.pause if self.pause else ended.at
        for index in range(len(self.node.items)):  # whose turn it is, the seed decides
            self.timed.items.setdefault((self.node.name, index), set()).update(ends)
        return Ended(last)


class Hangs(Part):
    """What only a limit around it ends, or one of its own."""

    def __init__(self, timed: Timed) -> None:
        self.limit = None
        if timed.random.random() < 0.5:
            stages = Reads(name=timed.named("source")), HangsAlways(name=timed.named("stage"))
            self.node = Pipeline(*stages, name=timed.named("flow"))
            if timed.random.random() < 0.5:  # behind a full buffer, and it goes on when cancelled
                source = ReadsOn(name=timed.named("source"))
                first = HangsAtTheFirst(name=timed.named("first"))
                first.on_error = timed.random.choice(("raise", "collect"))
                first.end = timed.random.choice(SWALLOWING)
                self.node = Pipeline(source, first, stages[1], buffer=1, name=self.node.name)
        else:
            self.node = HangsInReduce(name=timed.named("reduce"))
            self.node.batch_deadline = self.limit = timed.limit("batch_deadline", 0.8, 4)

    def ends(self, start: float) -> Ended:
        text = f"{self.node.name!r} ran longer than batch_deadline"
        return limited(Ended(inf), start, self.limit, text)


class Line(Part):
    """One after another; if one fails, the next may be wired to continue."""

    def __init__(self, timed: Timed, depth: int) -> None:
        self.parts = [timed.part(depth + 1) for _ in range(timed.random.randint(1, 3))]
        self.handled = []
        for before, after in zip(self.parts, self.parts[1:], strict=False):
            before.node >> after.node
            self.handled.append(timed.random.random() < 0.4)
            if self.handled[-1]:
                before.node - "error" >> after.node
        self.handled.append(False)
        self.node = self.graph(timed, self.parts[0].node)

    def graph(self, timed: Timed, start: Any) -> Graph:
        return Graph(start, name=timed.named("graph"), deadline=timed.limit("graph", 0.4, 6))

    def ends(self, start: float) -> Ended:
        return self.limited(self.within(start), start)

    def limited(self, ended: Ended, start: float) -> Ended:
        text = f"{self.node.name!r} ran longer than deadline"
        return limited(ended, start, self.node.deadline, text)

    def within(self, start: float) -> Ended:
        at = start
        for part, handled in zip(self.parts, self.handled, strict=True):
            ended = part.ends(at)
            at = ended.at
            if at == inf or (ended.error is not None and not handled):
                return ended
        return Ended(at)


class Fork(Line):
    """At once: the first failure ends all of them."""

    def __init__(self, timed: Timed, depth: int) -> None:
        self.parts = [timed.part(depth + 1) for _ in range(timed.random.randint(1, 3))]
        self.node = self.graph(timed, [part.node for part in self.parts])

    def within(self, start: float) -> Ended:
        ends = [part.ends(start) for part in self.parts]
        failed = Ended(inf)
        for ended in ends:
            if ended.error is not None:
                failed = earliest(failed, ended)
        return failed if failed.at < inf else Ended(max(ended.at for ended in ends))


class Group(Fork):
    """At once: the first success ends all of them, or all run to their end."""

    def graph(self, timed: Timed, start: Any) -> Graph:
        self.needed = timed.random.choice((None, 1))
        name = timed.named("group")
        return super().graph(timed, BranchGroup(*start, needed=self.needed, name=name))

    def within(self, start: float) -> Ended:
        ends = [part.ends(start) for part in self.parts]
        good = [ended.at for ended in ends if ended.error is None]
        last = max(ended.at for ended in ends)
        if self.needed is None:
            return Ended(last)
        if min(good, default=inf) < inf:
            return Ended(min(good))
        return Ended(last, next((ended.error for ended in ends if ended.error), None))


class InRounds(Line):
    """A BatchGraph, whose deadline is a round's."""

    def __init__(self, timed: Timed, depth: int) -> None:
        timed.rounds += 1
        self.part = timed.part(depth + 1)
        timed.rounds -= 1
        self.node = Repeats(
            self.part.node,
            name=timed.named("rounds"),
            max_workers=timed.random.randint(1, 2),
            on_error="collect",
            deadline=timed.limit("graph", 0.4, 6),
        )
        self.node.count = timed.random.randint(1, 3)

    def ends(self, start: float) -> Ended:
        free = [start] * self.node.max_workers
        for _ in range(self.node.count):
            ended = self.limited(self.part.ends(free[0]), free[0])
            heapreplace(free, ended.at)
        return Ended(max(free))
