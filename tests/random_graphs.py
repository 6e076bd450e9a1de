"""Random graphs of nodes that follow a script, and a comparison of their walk with the oracle."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.oracle import Oracle

HELD = -1  # in the place of a number of pauses: wait until everything else stands still
LEAVE = "leave"  # an action that only the outer graph knows: it ends a path anywhere
AFTER = "after"  # the node that it leads to
ACTIONS = ["default", "x", "error"]


@dataclass(frozen=True)
class Case:
    """A graph and what its nodes do.

    Attributes:
        successors: Node, then action, then targets, in the order of the wiring.
        starts: One node or several.
        scripts: Per node and visit: the action, and how often it gives its turn away first. When
            a script is at its end, the node leaves, so that every loop ends.
        releases: Which of the nodes that are held goes on next, and how many turns later another
            one does without waiting for everything else to stand still (0: none does).
    """

    successors: dict[str, dict[str, list[str]]]
    starts: list[str]
    scripts: dict[str, list[tuple[str | None, int]]]
    releases: list[tuple[int, int]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = "abcdefghi"[: draw(st.integers(3, 9))]
    node, action = st.sampled_from(names), st.sampled_from(ACTIONS)
    # Every node but the first has an earlier one before it, so that all can be reached.
    edges = [
        (names[draw(st.integers(0, place - 1))], draw(action), names[place])
        for place in range(1, len(names))
    ]
    others = draw(st.lists(st.tuples(node, action, node), max_size=2 * len(names)))
    edges = [*others, *edges] if draw(st.booleans()) else [*edges, *others]
    successors: dict[str, dict[str, list[str]]] = {name: {} for name in names}
    for source, listens, target in dict.fromkeys(edges):
        successors[source].setdefault(listens, []).append(target)
    pauses = st.sampled_from([0, 0, 1, 2, 3, HELD, HELD])
    scripts = {
        name: draw(
            st.lists(
                st.tuples(st.sampled_from([*(successors[name] or [LEAVE])] * 4 + [LEAVE]), pauses),
                max_size=3,
            )
        )
        for name in names
    }
    starts = list(dict.fromkeys([names[0], *draw(st.lists(node, max_size=2))]))
    releases = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=12))
    return Case(successors, starts, scripts, releases)


@dataclass
class Record:
    """What a run did: ``(node, None)`` when it began, ``(node, action)`` when it ended."""

    log: list[tuple[str, str | None]] = field(default_factory=list)
    visits: dict[str, int] = field(default_factory=dict)
    held: list[asyncio.Event] = field(default_factory=list)


class Scripted:
    """What a node does that follows its script, visit by visit: mixed into a class of nodes."""

    name: str

    def __init__(self, name: str, script: list[tuple[str | None, int]]) -> None:
        super().__init__(name=name)  # type: ignore[call-arg]
        self.script = script

    def prep(self, record: Record) -> tuple[Record, str | None, int]:
        visit = record.visits[self.name] = record.visits.get(self.name, 0) + 1
        record.log.append((self.name, None))
        if visit > len(self.script):
            return record, LEAVE, visit % 3
        return record, *self.script[visit - 1]

    async def exec(self, asked: tuple[Record, str | None, int]) -> str | None:
        record, action, pauses = asked
        if pauses == HELD:
            gate = asyncio.Event()
            record.held.append(gate)
            await gate.wait()
        for _ in range(pauses):
            await asyncio.sleep(0)
        if action == "error":
            record.log.append((self.name, "error"))
            raise ValueError(self.name)
        return action

    def post(self, record: Record, asked: Any, action: str | None) -> str | None:
        record.log.append((self.name, action))
        return action


def built(case: Case, node: Callable[[str, list[Any]], Any], graph: Callable[..., Any]) -> Any:
    """Return the case as a graph that another one has to lead on from when it is left.

    Args:
        case: What it looks like.
        node: Makes a node of a name and a script.
        graph: Makes a graph of its starts.
    """
    nodes = {name: node(name, case.scripts[name]) for name in case.successors}
    for source, actions in case.successors.items():
        for action, targets in actions.items():
            for target in targets:
                nodes[source] - action >> nodes[target]
    inner = graph([nodes[name] for name in case.starts], name="inner")
    inner - LEAVE >> node(AFTER, [])
    return inner


async def walk(case: Case, outer: Any, oracle: Oracle) -> None:
    """Run the graph around a case; compare it with the oracle whenever everything stands still."""
    oracle.assert_back_edges()
    record = Record()
    running = asyncio.create_task(outer.run_async(record))
    due = oracle.begin()  # what the oracle says has begun and the log does not say yet
    read = 0
    releases = iter(case.releases)
    while True:
        await _nothing_moves(record, running)
        for name, action in record.log[read:]:
            if name == AFTER:
                assert not oracle.running, f"the graph ended while {oracle.running} run"
            elif action is None:
                assert name in due, f"{name} began and was not to begin"
                due.remove(name)
            else:
                due += oracle.end(name, action)
        read = len(record.log)
        assert not due, f"{due} did not begin"
        if running.done():
            break
        assert record.held, f"deadlock: the oracle says that {oracle.running} run"
        which, turns = next(releases, (0, 0))
        record.held.pop(which % len(record.held)).set()
        if turns and record.held:
            for _ in range(turns):
                await asyncio.sleep(0)
            record.held.pop(which % len(record.held)).set()
    running.result()
    assert not oracle.running
    assert not oracle.waiting


async def _nothing_moves(record: Record, running: "asyncio.Task[Any]") -> None:
    """Wait until nothing has begun or ended for as many turns as a hand-over can take."""
    seen, quiet = len(record.log), 0
    while quiet < 60 and not running.done():
        await asyncio.sleep(0)
        quiet = quiet + 1 if len(record.log) == seen else 0
        seen = len(record.log)


def walked(case: Case, outer: Any, oracle: Oracle) -> None:
    """Walk on an event loop of its own, and not for ever."""

    async def within_limits() -> None:
        async with asyncio.timeout(20):
            await walk(case, outer, oracle)

    asyncio.run(within_limits())
