"""How a benchmark is defined and measured: both sides in turn, in one process."""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from inspect import isawaitable
from statistics import median
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Work = Callable[[], object]
Unit = Literal["×", "µs", "µs more", "MiB", "KiB"]

ROUNDS = 5

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two ways to do the same work, measured in turn.

    Attributes:
        name: The name of its row; several measurements of one row are ``B4``, ``B4-suspends``, …
        what: The workload, in a few words.
        operations: How many operations (items, nodes, runs) one call does.
        floor: What a user would write by hand. An awaitable result is awaited; otherwise the call
            itself is timed. It must check that it has done its work.
        ours: The same with kaygraph.
        target: The most that the figure should be.
        unit: ``×``: ours divided by floor; ``µs``: ours per operation; ``µs more``: ours minus
            floor, per operation.
        clock: ``cpu``: processor time of this process; ``wall`` if other processes do the work.
        rehearsed: Run each once more before each measurement: a work that follows one that
            held much memory pays for getting its own from the system again.
        peers: The same with other libraries. One that is not installed raises ImportError.
    """

    name: str
    what: str
    operations: int
    floor: Work
    ours: Work
    target: float
    unit: Unit = "×"
    clock: Literal["cpu", "wall"] = "cpu"
    rehearsed: bool = False
    peers: Mapping[str, Work] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure with its own way of measuring.

    Attributes:
        measure: Returns the figure, and remarks about it.
        at_least: Whether the target is a minimum.
    """

    name: str
    what: str
    measure: Callable[[], tuple[float, dict[str, Any]]]
    target: float
    unit: Unit = "×"
    at_least: bool = False


Benchmark = Case | Figure


@dataclass(frozen=True)
class Row:
    """The results; times in microseconds per operation."""

    name: str
    what: str
    unit: Unit
    target: float
    value: float
    is_met: bool
    floor_us: float | None = None
    ours_us: float | None = None
    peers: dict[str, float] = field(default_factory=dict)  # their times, divided by the floor's
    details: dict[str, Any] = field(default_factory=dict)

    def best_peer(self) -> tuple[str, float] | None:
        """Return the fastest peer and its ratio to the floor."""
        return min(self.peers.items(), key=lambda peer: peer[1], default=None)


def measured(benchmark: Benchmark, peers: bool = False) -> Row:
    """Measure one benchmark.

    Args:
        benchmark: What to measure.
        peers: Whether to measure the installed peers, too.
    """
    if isinstance(benchmark, Case):
        return _compared(benchmark, benchmark.peers if peers else {})
    value, details = benchmark.measure()
    is_met = value >= benchmark.target if benchmark.at_least else value <= benchmark.target
    return Row(
        benchmark.name, benchmark.what, benchmark.unit, benchmark.target, value, is_met,
        details=details,
    )  # fmt: skip


def _compared(case: Case, peers: Mapping[str, Work]) -> Row:
    with asyncio.Runner() as runner:
        # Plans, caches and specialised bytecode exist for all before the first measurement.
        for work in (case.floor, case.ours):
            seconds(work, runner)
        installed = {name: work for name, work in peers.items() if _is_installed(work, runner)}
        rounds = interleaved(case, [case.floor, case.ours, *installed.values()], runner)
    floors, ours, *others = zip(*rounds, strict=True)
    each = 1e6 / case.operations
    if case.unit == "×":
        value = median(our / floor for floor, our in zip(floors, ours, strict=True))
    elif case.unit == "µs":
        value = median(ours) * each
    else:
        value = median(our - floor for floor, our in zip(floors, ours, strict=True)) * each
    ratios = {
        name: median(other / floor for floor, other in zip(floors, times, strict=True))
        for name, times in zip(installed, others, strict=True)
    }
    return Row(
        case.name, case.what, case.unit, case.target, value, value <= case.target,
        median(floors) * each, median(ours) * each, ratios,
    )  # fmt: skip


def interleaved(case: Case, works: list[Work], runner: asyncio.Runner) -> list[tuple[float, ...]]:
    """Return the seconds of each work, a tuple per round: they take turns."""

    def one(work: Work) -> float:
        if case.rehearsed:
            seconds(work, runner)
        return seconds(work, runner, CLOCKS[case.clock])

    return [tuple([one(work) for work in works]) for _ in range(ROUNDS)]


def seconds(
    work: Work, runner: asyncio.Runner, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return how long one call takes, with earlier garbage collected.

    The cost of the runner's loop is not included.
    """
    gc.collect()
    started = clock()
    made = work()
    if not isawaitable(made):
        return clock() - started

    async def awaited() -> float:
        started = clock()
        await made
        return clock() - started

    return runner.run(awaited())


def _is_installed(work: Work, runner: asyncio.Runner) -> bool:
    try:
        seconds(work, runner)
    except ImportError:
        return False
    return True


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on a new loop and return its result."""
    return asyncio.run(main())
