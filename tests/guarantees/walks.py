"""Random graphs of nodes that follow a script, and a comparison of their walk with the oracle.

A node takes a whole number of virtual seconds, or only gives its turn away, or does not even
suspend. What begins because something has ended takes no time: whenever the clock has moved,
exactly what the oracle says has begun.
"""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from functools import cache
from random import Random
from typing import Any, NamedTuple

from kaygraph import AsyncNode, Graph
from tests.oracle import Oracle

LEAVE = "leave"  # an action that only the graph around knows: it ends a path anywhere
AFTER = "after"  # the node that it leads to, outside
ACTIONS = ("default", "x", "error")

AT_ONCE = -1.0  # in the place of seconds: it does not suspend at all

Script = list[tuple[str | None, float]]  # visit by visit: an action, and the seconds before it
Entry = tuple[float, str, str | None]  # when, which node, its action; None when it begins


class Case(NamedTuple):
    """A graph and what its nodes do.

    Attributes:
        successors: Node, then action, then targets, in the order of the wiring.
        starts: One node or several.
        scripts: At the end of its script, a node leaves, so that every loop ends.
        nested: Nodes that are graphs themselves.
        max_workers: The graph's own cap, if it has one.
    """

    successors: dict[str, dict[str, list[str]]]
    starts: list[str]
    scripts: dict[str, Script]
    nested: "dict[str, Case]"
    max_workers: int | None


def case(random: Random, names: Sequence[str], nested: bool) -> Case:
    """Return a random case with some of the names."""
    names = names[: random.randint(3, len(names))]
    # Every node but the first has an earlier one before it, so that all can be reached.
    edges = [
        (names[random.randrange(place)], random.choice(ACTIONS), names[place])
        for place in range(1, len(names))
    ]
    others = [
        (random.choice(names), random.choice(ACTIONS), random.choice(names))
        for _ in range(random.randint(0, len(names) * 3 // 2))
    ]
    edges = [*others, *edges] if random.random() < 0.5 else [*edges, *others]
    successors: dict[str, dict[str, list[str]]] = {name: {} for name in names}
    for source, listens, target in dict.fromkeys(edges):
        successors[source].setdefault(listens, []).append(target)
    scripts = {name: _script(random, list(successors[name])) for name in names}
    graphs = random.sample(names, random.choice((0, 0, 1, 2))) if nested else []
    if graphs:  # a graph within another ends where its own nodes leave
        for name in graphs:
            successors[name].setdefault(LEAVE, []).append(AFTER)
        successors[AFTER] = {}
        scripts[AFTER] = []
    starts = list(dict.fromkeys([names[0], *random.choices(names, k=random.choice((0, 0, 1, 2)))]))
    inner = {
        name: case(random, [f"{name}{n}" for n in range(1, 6)], nested=False) for name in graphs
    }
    return Case(successors, starts, scripts, inner, random.choice((None, None, 1, 2)))


def _script(random: Random, actions: list[str]) -> Script:
    known = [*(actions or [LEAVE])] * 4 + [LEAVE]
    seconds = (AT_ONCE, AT_ONCE, 0.0, 1.0, 1.0, 2.0, 3.0)
    return [(random.choice(known), random.choice(seconds)) for _ in range(random.randint(0, 3))]


class Record:
    """What one walk through one graph did; the shared store of the outermost one."""

    __slots__ = ("case", "log", "oracle", "visits")

    def __init__(self, case: Case, oracle: "QuickOracle") -> None:
        self.case, self.oracle = case, oracle
        self.log: list[Entry] = []
        self.visits: dict[str, int] = {}

    def note(self, name: str, action: str | None) -> None:
        self.log.append((asyncio.get_running_loop().time(), name, action))

    def begin(self, name: str) -> tuple[str | None, float]:
        """Note that a node begins; return what it should do."""
        visit = self.visits[name] = self.visits.get(name, 0) + 1
        self.note(name, None)
        script = self.case.scripts[name]
        return script[visit - 1] if visit <= len(script) else (LEAVE, visit % 3 - 1.0)


HERE: ContextVar[Record] = ContextVar("record")  # of the walk around


class Scripted(AsyncNode):
    """A node that follows its script, visit by visit."""

    def prep(self, _: Any) -> tuple[Record, str | None, float]:
        record = HERE.get()
        return record, *record.begin(self.name)

    async def exec(self, asked: tuple[Record, str | None, float]) -> str | None:
        record, action, seconds = asked
        if seconds != AT_ONCE:
            await asyncio.sleep(seconds)
        if action == "error":
            record.note(self.name, "error")
            raise ValueError(self.name)
        return action

    def post(self, _: Any, asked: Any, action: str | None) -> str | None:
        asked[0].note(self.name, action or "default")
        return action


class Within(Graph):
    """A graph that is a node of another: it walks, then does what its script says."""

    def begin_with(self, inner: Case, records: list[Record]) -> None:
        self.inner, self.records = inner, records
        self.oracle = QuickOracle(self, inner)

    def prep(self, _: Any) -> tuple[Record, str | None]:
        around = HERE.get()
        action, _seconds = around.begin(self.name)
        record = Record(self.inner, self.oracle)
        self.records.append(record)
        HERE.set(record)
        return around, action

    def post(self, _: Any, asked: tuple[Record, str | None], __: Any) -> str | None:
        around, action = asked
        HERE.set(around)
        around.note(self.name, action or "default")
        if action == "error":
            raise ValueError(self.name)
        return action


class QuickOracle(Oracle):
    """The oracle of the walk, which remembers what it has found out about a graph."""

    def __init__(self, graph: Graph, case: Case) -> None:
        back_edges = {(source.name, target.name) for source, target in graph.plan.back_edges}
        order = [node.name for node in graph.plan.steps]
        super().__init__(case.successors, case.starts, back_edges, order)
        self.can_reach = cache(super().can_reach)  # type: ignore[method-assign]
        self.holds_up = cache(super().holds_up)  # type: ignore[method-assign]
        self.is_join = cache(super().is_join)  # type: ignore[method-assign]
        self.assert_back_edges()

    def compare(self, log: Sequence[Entry]) -> int:
        """Check a log of one walk, entry by entry; return how many joins have run in it."""
        self.running.clear()
        self.waiting.clear()
        due = self.begin()  # what has to begin and, by the log, has not yet
        now, joins = 0.0 if not log else log[0][0], 0
        for at, name, action in log:
            if at != now:
                assert not due, f"{due} did not begin at {now}"
                now = at
            if action is None:
                assert name in due, f"{name} began at {at} and was not to begin"
                due.remove(name)
                joins += self.is_join(name)
            else:
                due += self.end(name, action)
        assert not due, f"{due} did not begin"
        assert not self.running, f"the graph ended while {self.running} run"
        assert not self.waiting, f"the graph ended while {self.waiting} wait"
        return joins


def built(case: Case, records: list[Record], **settings: Any) -> Within:
    """Return a case as a graph."""
    nodes: dict[str, Any] = {}
    for name in case.successors:
        if name in case.nested:
            nodes[name] = built(case.nested[name], records, name=name)
        else:
            nodes[name] = Scripted(name=name)
    for source, actions in case.successors.items():
        for action, targets in actions.items():
            for target in targets:
                nodes[source] - action >> nodes[target]
    if case.max_workers is not None:
        settings["max_workers"] = case.max_workers
    graph = Within([nodes[name] for name in case.starts], **settings)
    graph.begin_with(case, records)
    return graph
