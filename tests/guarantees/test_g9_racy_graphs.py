"""Random graphs whose branches race: what is recorded is replayed in the recorded order."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from kaygraph import BaseNode, BatchGraph, Graph, Node, ParallelBatchNode, at_least, settle
from kaygraph.journal.memory import MemoryStore
from kaygraph.testing import simulate
from kaygraph.testing._mortal import RUN, Committed, Life, MortalJournal
from tests.guarantees.figures import cases

MOMENTS = (0.0, 0.5, 1.0, 1.0, 1.5, 2.0)  # often several at once


class Racy(Node[Any, Any]):
    """Reads what others have written, waits, and writes."""

    fails = False

    def prep(self, shared: Any) -> int:
        return len(shared["log"])

    async def exec(self, seen: int) -> Any:
        await asyncio.sleep(random.choice(MOMENTS))
        if self.fails:
            raise ValueError(self.name)
        return self.name, seen

    def post(self, shared: Any, seen: int, result: Any) -> None:
        shared["log"].append((*result, len(shared["log"])))


class Silent(Node[Any, Any]):
    """Has no exec."""

    def prep(self, shared: Any) -> int:
        return len(shared["log"])

    def post(self, shared: Any, seen: int, _: Any) -> None:
        shared["log"].append((self.name, seen))


class Items(ParallelBatchNode[Any, Any]):
    max_workers = 2

    def prep(self, shared: Any) -> Any:
        return [1, 2, 1, len(shared["log"])]

    async def exec(self, item: int) -> int:
        await asyncio.sleep(random.choice(MOMENTS))
        return item

    def post(self, shared: Any, _: Any, results: Any) -> None:
        shared["log"].append((self.name, tuple(results)))


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> Any:
        return [{"n": 1}, {"n": 2}, {"n": 1}]

    def post(self, shared: Any, *_: Any) -> None:
        shared["log"].append((self.name,))


class Drawing:
    """Draws a graph of nodes in a row and side by side, nested."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0

    def name(self) -> str:
        self.number += 1
        return f"n{self.number}"

    def graph(self, depth: int = 3) -> Graph:
        return Graph(self.line(depth), name=self.name(), on_conflict="ignore")

    def line(self, depth: int) -> Any:
        parts = [self.part(depth) for _ in range(self.random.randint(1, 3))]
        line = parts[0]
        for part in parts[1:]:
            if isinstance(line, list) and isinstance(part, list):
                line = Silent(name=self.name()) >> line >> Racy(name=self.name()) >> part
            else:
                line = line >> part
        return Silent(name=self.name()) >> line if isinstance(line, list) else line

    def part(self, depth: int) -> Any:
        make: Callable[[int], Any] = self.random.choice(
            [self.racy, self.racy, self.silent, self.items, self.failing]
            if depth == 0
            else [self.racy, self.fork, self.fork, self.nested, self.rounds, self.group]
        )
        return make(depth - 1)

    def racy(self, _: int) -> Any:
        return Racy(name=self.name())

    def silent(self, _: int) -> Any:
        return Silent(name=self.name())

    def items(self, _: int) -> Any:
        return Items(name=self.name(), ordered=self.random.random() < 0.5)

    def failing(self, _: int) -> Any:
        node, handler = Racy(name=self.name()), Racy(name=self.name())
        node.fails = True
        node - "error" >> handler
        return Graph(node, name=self.name(), on_conflict="ignore")

    def fork(self, depth: int) -> Any:
        return [self.line(max(depth, 0)) for _ in range(self.random.randint(2, 3))]

    def nested(self, depth: int) -> Any:
        return self.graph(max(depth, 0))

    def rounds(self, depth: int) -> Any:
        line = self.line(max(depth, 0))
        return Rounds(line, name=self.name(), max_workers=2, on_conflict="ignore")

    def group(self, depth: int) -> Any:
        branches = [self.line(max(depth, 0)) for _ in range(3)]
        if self.random.random() < 0.5:
            return settle(*branches, name=self.name())
        return at_least(self.random.randint(1, 3), *branches, name=self.name())


def recorded(graph: BaseNode[Any, Any], store: MemoryStore, run: str, seed: int) -> Any:
    """Run in an order that a seed decides; return shared, and what was called."""
    journal = MortalJournal(store, run=run)
    life = Life(journal)

    async def work(shared: Any) -> None:
        await graph.run_async(shared, journal=journal, observers=[life])

    settings: Any = {"seed": seed, "watched": False, "order": "turns", "jitter": 0}
    return simulate(work, {"log": []}, **settings).shared, life.calls


@pytest.mark.parametrize("seeds", cases(1_000, size=25, soak=9_000))
def test_a_replay_comes_to_the_same(seeds: range, tally: Callable[[str, int], None]) -> None:
    """Of a whole run, and of one that was resumed somewhere, in any order of tasks."""
    for seed in seeds:
        graph, store = Drawing(seed).graph(), MemoryStore()
        shared, calls = recorded(graph, store, RUN, 3 * seed)
        rows = store.info(RUN).rows
        store.copy(RUN, "replayed", rows)
        assert recorded(graph, store, "replayed", 3 * seed + 1) == (shared, []), seed
        through = random.Random(seed).randint(0, rows)
        store.copy(RUN, "cut", through)
        before = Committed(store, "cut")
        shared, calls = recorded(graph, store, "cut", 3 * seed + 2)
        assert not [node for key, node in calls if key in before.names], seed
        store.copy("cut", "cut and replayed", store.info("cut").rows)
        assert recorded(graph, store, "cut and replayed", 3 * seed) == (shared, []), seed
    tally("G9 racy graphs", len(seeds))


@pytest.mark.parametrize("seed", [772, 794])
def test_rounds_take_their_permits_again_without_a_deadlock(
    seed: int, tally: Callable[[str, int], None]
) -> None:
    """Two graphs whose rounds, within each other, had given theirs back for the replay."""
    test_a_replay_comes_to_the_same(range(seed, seed + 1), tally)


@pytest.mark.parametrize("seed", [726, 931])
def test_a_branch_that_loses_has_written_what_it_wrote_before(
    seed: int, tally: Callable[[str, int], None]
) -> None:
    """Its group was cancelled from outside between the end of the winner and its own decision."""
    test_a_replay_comes_to_the_same(range(seed, seed + 1), tally)
