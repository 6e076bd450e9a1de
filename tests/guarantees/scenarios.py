"""Random runs: trees of batches, pipelines, lines, forks, rounds and groups, with limits on all."""

from collections import Counter
from random import Random
from typing import Any

from kaygraph import Retry
from tests.guarantees.blocks import (
    ON_ERROR,
    Around,
    Batch,
    Block,
    Flowing,
    Fork,
    Group,
    InRounds,
    Line,
    Results,
)
from tests.guarantees.leaves import (
    TIMEOUT_S,
    Blocking,
    Caps,
    Fate,
    Many,
    ManyWithFallback,
    OneByOne,
    Play,
    Rate,
    Round,
    Single,
    SingleWithFallback,
)

SECONDS = (0.0, 0.0, 0.5, 1.0, 2.0)
PER_S = (0.5, 1.0625, 2.125)  # of rates; a little more than what others take


class Scenario:
    """A random run: ``graph`` to run, ``play`` to see what it does, and what must come of it.

    Attributes:
        expected: Of the whole.
        results: What ``post`` gets, by node and round.
        statuses: By node, how its items end: (status, attempts), over all rounds.
        bad: By node, the items that fail or time out for good.
        attempts: By node, how often an item is tried at most.
        cut: What ends the run early: None, "cancel" (at event number ``at``), "timer" (cancelled
            after ``at`` seconds), "drain" (after ``at`` seconds) or "deadline" (of a graph).
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.play = Play()
        self.results: dict[tuple[str, Round], Results] = {}
        self.statuses: dict[str, Counter[tuple[str, int]]] = {}
        self.bad: dict[str, set[Any]] = {}
        self.attempts: dict[str, int] = {}
        self.budget = self.random.randint(5, 12)  # how many items there are still to be
        self.made = 0
        self.cut = self.random.choice(
            [None] * 6 + ["cancel", "cancel", "timer", "drain", "deadline"]
        )
        self.at = self.random.randint(1, 40) if self.cut == "cancel" else self.random.randint(0, 12)
        self.by_graph = self.random.random() < 0.5  # who says the timeout
        inner = self.composite(Around(), 0)
        self.graph = inner.node
        if self.by_graph:
            self.graph.task_timeout = TIMEOUT_S
        self.expected = inner.expect(())

    def named(self, kind: str) -> str:
        self.made += 1
        return f"{kind}{self.made}"

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # --- the tree -------------------------------------------------------------------------------

    def block(self, around: Around, depth: int) -> Block:
        if depth < 3 and self.budget > 1 and self.chance(0.5):
            return self.composite(around, depth)
        return Flowing(self, around) if self.chance(0.25) else Batch(self, around)

    def composite(self, around: Around, depth: int) -> Block:
        kinds = [Line, Line, Fork, Fork, InRounds, Group]
        return self.random.choice(kinds)(self, around, depth)

    def blocks(self, around: Around, depth: int) -> list[Block]:
        return [self.block(around, depth + 1) for _ in range(self.random.choice((1, 2, 2, 3)))]

    def settings(self, around: Around, name: str) -> tuple[dict[str, Any], Around]:
        """Return random settings of a graph, and what is around those within."""
        settings: dict[str, Any] = {"name": name}
        if self.chance(0.5):
            settings["max_workers"] = most = self.random.randint(1, 3)
            around = around._replace(counts=(*around.counts, self.play.count(name, most)))
        if self.chance(0.15):
            settings["max_parallel_tasks"] = most = self.random.randint(1, 3)
            count = self.play.count(f"{name} tasks", most)
            around = around._replace(counts=(*around.counts, count), workers=most)
        if self.cut == "deadline" and self.chance(0.6):
            settings["deadline"] = self.random.randint(1, 8) - 0.25
        return settings, around

    # --- the work -------------------------------------------------------------------------------

    def fate(self) -> Fate:
        roll = self.random.random()
        end = "ok" if roll < 0.84 else "fail" if roll < 0.9 else "hang" if roll < 0.95 else "drop"
        failures = self.random.choice((0, 0, 0, 0, 0, 0, 0, 1, 1, 2))
        return Fate(self.random.choice(SECONDS), failures, end)

    def configured(self, node: Any, around: Around, batch: bool) -> Any:
        """Give a node its limits, its attempts and its counters."""
        caps = node.caps = Caps(self.play)
        caps.counts = list(around.counts)
        caps.rounds = list(around.rounds)
        if not self.by_graph:
            node.timeout = TIMEOUT_S
        if self.chance(0.4):
            if self.chance(0.5):
                node.max_retries, node.wait = self.random.randint(2, 3), self.random.randint(0, 1)
            else:
                node.retry = Retry(attempts=self.random.randint(2, 3), wait=0.5, backoff=2)
        retry = node.retry
        self.attempts[node.name] = node.max_retries if retry is None else retry.attempts
        if isinstance(node, Many):
            workers = 10 if around.workers is None else around.workers
            if self.chance(0.8):
                node.max_workers = workers = self.random.randint(1, 4)
            node.ordered = self.chance(0.7)
            caps.counts.append(self.play.count(node.name, workers))
        elif batch:
            caps.counts.append(self.play.count(node.name, 1))
        if isinstance(node, Many | OneByOne):
            node.on_error = self.random.choice(ON_ERROR)
        if isinstance(node, Blocking):
            self.play.blocks = True
        elif self.chance(0.2):
            node.limit_by = caps.key_of
            node.max_per_key = caps.most_per_key = self.random.randint(1, 2)
            caps.by_key = {}
            self.play.keys.append(caps.by_key)
        self.play.nested.append(caps.counts)
        if not isinstance(node, Blocking) and self.chance(0.12):
            caps.rates = [self.rate() for _ in range(self.random.randint(1, 2))]
            caps.rates = list(dict.fromkeys(caps.rates))
            node.rate = [rate.limit for rate in caps.rates]
        return node

    def rate(self) -> Rate:
        """Return a new rate or one that other nodes go by as well."""
        rates = self.play.rates
        if not rates or self.chance(0.5):
            rates.append(
                Rate(self.random.randint(2, 3), self.random.choice(PER_S), self.chance(0.3))
            )
        return self.random.choice(rates)

    def tried(self, node: Any, round_: Round, item: int) -> tuple[str, int]:
        """Return how an item ends that is worked on by itself: its status and its attempts."""
        fate = self.fate()
        if isinstance(node, Blocking) and fate.end == "hang":
            fate = Fate(1.0, fate.failures, "hang")
        if fate.end == "drop" and isinstance(node, Single):
            fate = Fate(fate.seconds, fate.failures, "ok")
        self.play.fates[node.name, round_, item] = fate
        status, attempts = fate.after(self.attempts[node.name])
        if status in ("failed", "timed_out"):
            if isinstance(node, SingleWithFallback | ManyWithFallback):
                status = "ok with fallback"
            elif getattr(node, "on_error", "raise") == "skip":
                status = "skipped"
            else:
                self.bad.setdefault(node.name, set()).add(item)
        counted = "ok" if status == "ok with fallback" else status
        self.statuses.setdefault(node.name, Counter())[counted, attempts] += 1
        return status, attempts
