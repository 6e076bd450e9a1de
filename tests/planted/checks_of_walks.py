"""Which nodes run, against an oracle of the walk; and that the same seed is the same run."""

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import Any

from kaygraph import Graph
from kaygraph.testing import simulate
from tests.children import python
from tests.oracle import Oracle, Trace, Visit
from tests.planted.exploring import TURNS, assert_holds
from tests.planted.planting import planted_now
from tests.testing.graphs import SHAPES, failing

WALK_SEEDS = 200
TRACE_SEEDS = (0, 1, 2)

LEAVE = "leave"  # an action that only the outer graph knows: it ends a path anywhere


class Walks(Visit):
    """Takes its time for each visit; after some visits it leaves, so that every loop ends."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.left = random.randint(0, 3)
        self.returned: list[str] = []

    async def exec(self, asked: object) -> str:
        await asyncio.sleep(random.randrange(3))
        self.left -= 1
        action = LEAVE if self.left < 0 else random.choice([*self.successors, LEAVE])
        self.returned.append(action)
        return action


def drawn_graph() -> dict[str, Walks]:
    """Draw three to seven nodes, loops included, and return them by name; "a" is the first."""
    nodes = {name: Walks(name) for name in "abcdefg"[: random.randint(3, 7)]}
    names = list(nodes)
    edges = [(random.choice(names[:place]), names[place]) for place in range(1, len(names))]
    edges += [(random.choice(names), random.choice(names)) for _ in range(random.randint(0, 5))]
    for source, target in edges:
        nodes[source] - random.choice(["default", "default", "x"]) >> nodes[target]
    return nodes


async def walk(_: object) -> None:
    """Walk a random graph, and ask the oracle what should have run."""
    nodes = drawn_graph()
    inner = Graph(nodes["a"], name="inner")
    inner - LEAVE >> Visit("after")
    oracle = Oracle(
        {
            name: {action: [node.name for node in targets] for action, targets in after.items()}
            for name, after in ((node.name, node.successors) for node in nodes.values())
        },
        ["a"],
        {(source.name, target.name) for source, target in inner.plan.back_edges},
        [node.name for node in inner.plan.steps],
    )
    trace = Trace()
    await Graph(inner, name="outer").run_async(trace)
    due, ended = Counter(oracle.begin()), Counter[str]()
    for name in trace.ended:
        if name in nodes:
            assert name in oracle.running, f"{name} was not to run: {trace.log}"
            due.update(oracle.end(name, nodes[name].returned[ended[name]]))
            ended[name] += 1
    ran = Counter(name for name in trace.began if name in nodes)
    assert ran == due, f"{ran} ran, and the oracle says {due}: {trace.log}"


def walks_go_as_an_oracle_says() -> None:
    """Random graphs with loops and joins; each node takes its time."""
    assert_holds(walk, seeds=WALK_SEEDS)


# --- repeatable -----------------------------------------------------------------------------------


def traces() -> list[str]:
    """Return what happens in runs of every shape, line by line."""
    works: list[Any] = [shape() for shape in SHAPES if shape is not failing]
    runs = [simulate(work, seed=seed, **TURNS) for work in (*works, walk) for seed in TRACE_SEEDS]
    return [line for run in runs for line in run.trace]


def the_same_seed_is_the_same_run_in_every_process() -> None:
    """The traces of two processes that have other hashes of strings."""

    def lines(hash_seed: str) -> list[str]:
        command = ["-m", "tests.planted.traces", *planted_now]
        return python(*command, env={"PYTHONHASHSEED": hash_seed}, check=True).stdout.splitlines()

    with ThreadPoolExecutor() as threads:
        first, second = threads.map(lines, ("1", "2"))
    assert first
    differing = [(a, b) for a, b in zip_longest(first, second) if a != b]
    assert not differing, f"{len(differing)} lines of the traces differ, first {differing[0]}"
