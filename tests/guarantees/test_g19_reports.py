"""G19: what a report advises, holds: the advice is taken and the run is repeated."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from examples.workflow import Options, load
from kaygraph import BatchGraph, Graph, Node, ParallelBatchNode, Pipeline, RateLimit, RunReport
from kaygraph.observability.processors import cores
from tests import computing
from tests.examples.runs import run

pytestmark = pytest.mark.proofs

FASTER, AS_FAST = 0.85, 0.75  # of the wall time: below the first, and not below the second


class Waits(ParallelBatchNode[Any, Any]):
    """Waits for 10 ms per item, or for as long as the item says."""

    def __init__(self, items: Any = range(60), **settings: Any) -> None:
        super().__init__(**settings)
        self.items = items

    def prep(self, shared: Any) -> Any:
        return self.items() if callable(self.items) else self.items

    async def exec(self, item: Any) -> Any:
        await asyncio.sleep(item if isinstance(item, float) else 0.01)
        return item


class Keyed(Waits):
    def limit_by(self, item: Any) -> Any:
        return item % 2


async def slowly() -> Any:
    for number in range(40):
        await asyncio.sleep(0.01)
        yield number


class OnTheLoop(ParallelBatchNode[Any, Any]):
    """Computes in an ``async def``."""

    def prep(self, shared: Any) -> Any:
        return range(100)

    async def exec(self, item: int) -> int:
        return computing.work(item)


class Small(ParallelBatchNode[Any, Any]):
    """Adds numbers, one or many at a time."""

    def __init__(self, size: int) -> None:
        super().__init__(max_workers=10)
        self.size = size

    def prep(self, shared: Any) -> Any:
        return (range(n, n + self.size) for n in range(0, 60_000, self.size))

    async def exec(self, numbers: range) -> int:
        await asyncio.sleep(0)
        return sum(numbers)


class Rounds(BatchGraph):
    def prep(self, shared: Any) -> Any:
        return [{"n": n} for n in range(60)]


class Asks(Node[Any, Any]):
    async def exec(self, _: Any) -> None:
        await asyncio.sleep(0.01)


class Stage(ParallelBatchNode[Any, Any]):
    def __init__(self, seconds: float, name: str, **settings: Any) -> None:
        super().__init__(name=name, **settings)
        self.seconds = seconds

    async def exec(self, item: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return item


def line_of(parse: int, source: Any = None) -> Pipeline:
    first = Waits(source or (0.0 for _ in range(100)), name="read", max_workers=1)
    return Pipeline(
        first, Stage(0.01, "parse", max_workers=parse), Stage(0.002, "store", max_workers=1)
    )


@dataclass
class Case:
    """A run, what its report must advise, the run with the advice taken, and what that gains."""

    words: str
    make: Callable[[], Any]
    changed: Callable[[], Any]
    helps: bool = True


CASES = {
    "threads that compute": Case(
        "run_in='process' for Computes",
        lambda: computing.Computes(max_workers=4),
        lambda: computing.Computes(max_workers=cores(), run_in="process"),
    ),
    "processes on all cores": Case(
        "more workers will not help",
        lambda: computing.Computes(max_workers=cores(), run_in="process"),
        lambda: computing.Computes(max_workers=2 * cores(), run_in="process"),
        helps=False,
    ),
    "an event loop that computes": Case(
        "run_in='process'",
        OnTheLoop,
        lambda: computing.Computes(max_workers=cores(), run_in="process"),
    ),
    "items that are too small": Case(
        "putting many into one will help", lambda: Small(1), lambda: Small(100)
    ),
    "few workers that wait": Case(
        "max_workers=8", lambda: Waits(max_workers=4), lambda: Waits(max_workers=8)
    ),
    "a slow source": Case(
        "workers for Waits will not help: on average",
        lambda: Waits(slowly, max_workers=20),
        lambda: Waits(slowly, max_workers=2),
        helps=False,
    ),
    "one long item": Case(
        "One item of Waits takes",
        lambda: Waits([0.5, *[0.01] * 20], max_workers=4),
        lambda: Waits([0.5, *[0.01] * 20], max_workers=8),
        helps=False,
    ),
    "all items at once": Case(
        "All 60 items of Waits run at once",
        lambda: Waits([0.1] * 60, max_workers=100),
        lambda: Waits([0.1] * 60, max_workers=200),
        helps=False,
    ),
    "a rate": Case(
        "only a higher rate=",
        lambda: Waits(max_workers=8, rate=RateLimit(10, per=0.1)),
        lambda: Waits(max_workers=8, rate=RateLimit(20, per=0.1)),
    ),
    "a rate, and more workers": Case(
        "only a higher rate=",
        lambda: Waits(max_workers=8, rate=RateLimit(10, per=0.1)),
        lambda: Waits(max_workers=16, rate=RateLimit(10, per=0.1)),
        helps=False,
    ),
    "keys": Case(
        "a higher max_per_key=",
        lambda: Keyed(max_workers=10),
        lambda: Keyed(max_workers=10, max_per_key=4),
    ),
    "the permits of a graph": Case(
        "a higher max_workers= there",
        lambda: Graph(Waits(max_workers=10), max_workers=2),
        lambda: Graph(Waits(max_workers=10), max_workers=8),
    ),
    "a stage with few workers": Case("parse is busy", lambda: line_of(2), lambda: line_of(10)),
    "rounds": Case(
        "a higher max_workers= for it",
        lambda: Rounds(Asks(), max_workers=4),
        lambda: Rounds(Asks(), max_workers=8),
    ),
}


def measured(node: Any) -> RunReport:
    report = RunReport()
    node.run({}, observers=[report])
    return report


@pytest.mark.parametrize("name", CASES)
def test_the_advice_of_a_report_holds(name: str) -> None:
    """By turns, up to four times on a busy machine: faster if the report says so, otherwise not."""
    case = CASES[name]
    before, after = [], []
    for _ in range(4):
        report = measured(case.make())
        assert case.words in report.verdict
        before.append(report.wall_s)
        after.append(measured(case.changed()).wall_s)
        gain = min(after) / min(before)
        if gain < FASTER if case.helps else gain > AS_FAST:
            return
    raise AssertionError(f"with the advice {after} s, without {before} s")


WORKERS = {"validation": 16, "enrichment": 10, "pipeline": 20, "mapreduce": 2}


@pytest.mark.parametrize("name", WORKERS)
def test_the_advice_about_a_workflow_of_the_demo_holds(name: str) -> None:
    """Twice the workers: faster if they should help, or what they wait for takes longer."""
    workflow, workers = load(name), WORKERS[name]
    before, after = [], []
    for _ in range(8):
        _, report = run(workflow, Options(workers=workers))
        _, wider = run(workflow, Options(workers=2 * workers))
        before.append(report.wall_s)
        after.append(wider.wall_s)
        gain = min(after) / min(before)
        if "max_workers=" not in report.verdict:
            holds = gain > AS_FAST
        else:  # "as far as what they wait for allows"
            holds = gain < 1 or wider.work_s > 1.2 * report.work_s
        if holds:
            return
    raise AssertionError(f"{report.verdict}: with twice the workers {after} s, before {before} s")
