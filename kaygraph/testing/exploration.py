"""``explore``: many runs in different orders, and those that fail."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from reprlib import Repr
from typing import Any, Literal

from .._validation import check_count, check_def
from ..node.node import BaseNode
from ._schedule import Deviation
from ._search import Search, SearchedOrder, following
from ._shortening import Shortening
from ._simulated import JITTER_S, MAX_STEPS, simulating
from ._step_by_step import schedule_of
from ._tracing import Swap, Tracer
from .accounting import unaccounted
from .network.settings import Network, using_network
from .simulation import Simulated, Simulation, add_seed, beginner_of, played, takes_store

Allowed = type[BaseException] | tuple[type[BaseException], ...]

# The number of runs spent on finding a shorter trace of the same failure.
SHORTER_RUNS = 300

# The number of lines of the trace to show.
LINES_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed.

    Attributes:
        seed: The seed; ``simulate(graph, shared, seed=…)`` repeats the run.
        error: The error that the run or the check raised.
        deviations: How many times the order differed from that of asyncio.
        run: The simulated run.
        swaps: For the shortest failure, each deviation: what came before what, and where both were.
    """

    seed: int
    error: BaseException
    deviations: int
    run: Simulation
    swaps: tuple[Swap, ...] = ()
    _again: Callable[[], Simulation] | None = field(default=None, repr=False, compare=False)

    @property
    def schedule(self) -> tuple[Deviation, ...]:
        """The deviations; ``simulate(…, seed=…, schedule=…)`` repeats them."""
        return self.run.schedule

    @property
    def trace(self) -> list[str]:
        """What happened, up to the end of the run; see ``Simulation.trace``.

        A coroutine function is run again for it: traces are too slow to keep one for each seed.
        """
        return (self.run if self._again is None else self._again()).trace

    def __str__(self) -> str:
        trace = self.trace
        lines = [
            f"{type(self.error).__name__}: {self.error}",
            *getattr(self.error, "__notes__", ()),
            *([f"shared: {_repr.repr(self.run.shared)}"] if self.run.shared is not None else ()),
            *trace[:LINES_SHOWN],
        ]
        if len(trace) > LINES_SHOWN:
            lines.append(f"… and {len(trace) - LINES_SHOWN} lines more")
        return "\n".join(["\n  ".join(lines), *map(str, self.swaps)])


class Exploration:
    """The result of ``explore``. It is true if any seed failed: ``assert not found, str(found)``.

    Attributes:
        seeds: The number of seeds, or of orders if it was exhaustive.
        failures: The failures, in the order of the seeds.
        complete: Whether every order was tried; only an exhaustive exploration can say so.
        shortest: The failure to look at first, with no more deviations than it needs: if one of
            them is left out, the run no longer fails. None when no seed failed.
        warnings: What has made no seed fail, and may be wrong: see ``Simulation.warnings``.
    """

    def __init__(
        self,
        seeds: int,
        failures: list[Failure],
        shortest: Failure | None,
        warnings: Iterable[str] = (),
        complete: bool | None = None,
    ) -> None:
        self.seeds, self.failures, self.shortest = seeds, failures, shortest
        self.warnings = list(warnings)
        self.complete = bool(complete)
        self._of = {
            None: f"{seeds} seeds",
            True: f"its {seeds} orders",
            False: f"the first {seeds} orders",
        }[complete]

    def __bool__(self) -> bool:
        return bool(self.failures)

    def __len__(self) -> int:
        return len(self.failures)

    def __iter__(self) -> Iterator[Failure]:
        return iter(self.failures)

    def __repr__(self) -> str:
        return f"<Exploration {len(self.failures)} of {self._of} break it>"

    def __str__(self) -> str:
        warnings = "".join(f"\nwarning: {warning}" for warning in self.warnings)
        if self.shortest is None:
            return f"none of {self._of} breaks it{warnings}"
        counts = f"{len(self.failures)} of {self._of} break it"
        return f"{counts}; the shortest:\n{self.shortest}{warnings}"


def explore(
    graph: Simulated,
    shared: Any = None,
    /,
    *,
    check: Callable[[Any], object] | None = None,
    seeds: int | Iterable[int] = 1000,
    allowed: Allowed = (),
    leftovers: bool = False,
    watched: bool = True,
    order: str = "any",
    jitter: float = JITTER_S,
    max_steps: int = MAX_STEPS,
    max_seconds: float | None = None,
    network: Network | None = None,
    exhaustive: bool | Literal["watched"] = False,
) -> Exploration:
    """Simulate a coroutine function or a graph with many seeds and collect the failures.

    A seed fails when the run raises, when ``check`` raises or returns False, when an item has not
    ended exactly once, when the run leaves something behind (a task, a permit, an async
    generator, a coroutine that was never awaited), when a task has swallowed a cancellation, or
    when the loop's exception handler gets an error.

    ::

        async def main():
            account = Account(balance=100)
            async with asyncio.TaskGroup() as group:
                group.create_task(account.withdraw(80))
                group.create_task(account.withdraw(80))
            assert account.balance >= 0

        print(explore(main))

    Args:
        graph: A coroutine function, which is called with the shared store if it takes an argument;
            or any node.
        shared: The shared store, copied deeply for each run; or a function that returns a new one.
        check: A function that is called with the shared store of each run without an error; with
            what a coroutine function without an argument returned.
        seeds: The number of seeds, from 0 (the order of asyncio itself), or the seeds themselves.
        allowed: The error classes that a run may raise; a group is allowed if all errors in it
            are. ``check`` is not called after such an error.
        leftovers: Whether the run may leave something behind, and swallow cancellations.
        watched: As for ``simulate``.
        order: As for ``simulate``.
        jitter: As for ``simulate``.
        max_steps: As for ``simulate``.
        max_seconds: As for ``simulate``.
        network: As for ``simulate``.
        exhaustive: Try every order once; ``seeds`` is the most. Orders that differ only in when a
            sleep has ended are one; with "watched", those that differ only in steps which touch
            different objects, if all that tasks share is watched or one of asyncio's primitives.
    """
    check_def("check", check)
    explorer = Explorer(
        graph, shared, check, allowed, leftovers, watched, "steps" if exhaustive else order, jitter,
        max_steps, max_seconds, network,
    )  # fmt: skip
    if exhaustive:
        return explorer.every_order(check_count("seeds", seeds), exhaustive, order)
    return explorer.every_seed(seeds_of(seeds))


def _length(failure: Failure) -> tuple[int, int, int]:
    run = failure.run
    return len(run.events), failure.deviations, run.steps


class Explorer:
    """Runs the seeds of an exploration, within ``simulating()``; see ``explore``."""

    def __init__(
        self,
        work: Simulated,
        shared: Any = None,
        check: Callable[[Any], object] | None = None,
        allowed: Allowed = (),
        leftovers: bool = False,
        watched: bool = True,
        order: str = "any",
        jitter: float = JITTER_S,
        max_steps: int = MAX_STEPS,
        max_seconds: float | None = None,
        network: Network | None = None,
    ) -> None:
        self._shared, self._check = shared, check
        self._allowed, self._leftovers, self._watched = allowed, leftovers, watched
        self._order, self._network = order, network
        self._jitter, self._max_steps, self._max_seconds = jitter, max_steps, max_seconds
        self._of_graph = isinstance(work, BaseNode)
        self._takes_store = takes_store(work)
        self._begin = beginner_of(work)
        self.warnings: dict[str, None] = {}  # of all runs

    def every_seed(self, seeds: Sequence[int]) -> Exploration:
        """Run these seeds."""
        with simulating():
            failures = [found for seed in seeds if (found := self.attempt(seed)) is not None]
        return self._summed_up(len(seeds), failures)

    def every_order(self, most: int, kind: Literal[True, "watched"], order: str) -> Exploration:
        """Run the orders of a program once each, at most so many of them.

        Orders that differ only in when the timer of a sleep has fired are one. With "watched", so
        are orders that differ only in steps which touch different objects.
        """
        if kind not in (True, "watched"):
            raise ValueError(f"exhaustive must be True, False or 'watched', got {kind!r}")
        if order not in ("any", "steps"):
            raise ValueError(f"exhaustive=True tries every order: leave out order={order!r}")
        search, runs, failures = Search(kind == "watched", most), 0, list[Failure]()
        with simulating(), following(search.only_watched):
            while search and runs < most:
                schedule = search.next()
                failure = self.attempt(0, schedule=schedule)
                if not schedule.redundant:
                    runs += 1
                    failures += [] if failure is None else [failure]
        return self._summed_up(runs, failures, search.complete and not search)

    def _summed_up(
        self, runs: int, failures: list[Failure], complete: bool | None = None
    ) -> Exploration:
        first = min(failures, key=_length, default=None)
        with simulating():
            shortest = None if first is None else self.shortened(first)
        return Exploration(runs, failures, shortest, self.warnings, complete)

    def attempt(
        self,
        seed: int,
        planned: Iterable[tuple[int, int]] | None = None,
        traced: bool = False,
        schedule: SearchedOrder | None = None,
    ) -> Failure | None:
        """Run a seed, or a schedule of a search; return its failure, or None."""
        run, tracer = self._run(seed, planned, traced, schedule)
        self.warnings.update(dict.fromkeys(run.warnings))
        error = self._complaint(run)
        if error is None:
            return None
        kept = None if planned is None and schedule is None else run.schedule
        add_seed(error, seed, schedule=kept, order=self._order)
        run.let_go(error)
        again = None if traced or self._of_graph else lambda: self._again(seed, run.schedule)
        return Failure(seed, error, run.deviations, run, tuple(tracer.swaps), again)

    def shortened(self, failure: Failure) -> Failure:
        """Return the same failure with as few deviations as it needs."""

        def fails(schedule: Sequence[Deviation]) -> bool:
            found = self.attempt(failure.seed, schedule)
            return found is not None and type(found.error) is type(failure.error)

        fewer = Shortening(fails, SHORTER_RUNS).of(failure.schedule)
        # Seed 0 has none; those of an exhaustive exploration are no seed's.
        seeded = len(fewer) == failure.deviations and bool(failure.seed or not fewer)
        found = self.attempt(failure.seed, None if seeded else fewer, traced=True)
        return failure if found is None else found

    def _again(self, seed: int, schedule: Iterable[tuple[int, int]]) -> Simulation:
        with simulating():
            return self._run(seed, schedule, traced=True)[0]

    def _run(
        self,
        seed: int,
        planned: Iterable[tuple[int, int]] | None,
        traced: bool,
        searched: SearchedOrder | None = None,
    ) -> tuple[Simulation, Tracer]:
        run = Simulation(seed, fresh(self._shared) if self._takes_store else None)
        schedule = searched or schedule_of(seed, planned=planned, order=self._order)
        tracer = Tracer(run.log, swaps=traced, steps=traced and not self._of_graph)
        if traced or self._of_graph:
            schedule.note = tracer.deviated
        begin = partial(self._begin, observers=(tracer,) if self._watched else ())
        with using_network(self._network):
            played(
                begin, run, schedule, self._max_steps, self._max_seconds,
                None if searched is None else searched.follow, self._jitter, tracer,
            )  # fmt: skip
        return run, tracer

    def _complaint(self, run: Simulation) -> BaseException | None:
        """Return what is wrong with a run, or None."""
        if run.error is not None and not is_allowed(run.error, self._allowed):
            return run.error
        wrong = unaccounted(run.events) if self._leftovers else run.left + unaccounted(run.events)
        if wrong:
            return AssertionError("\n".join(["the run has ended and left behind", *wrong]))
        if self._check is None or run.error is not None:
            return None
        value = run.shared if self._takes_store else run.action
        try:
            held = self._check(value)
        except (Exception, asyncio.CancelledError) as error:
            return error
        if held is not False:
            return None
        what = "shared" if self._takes_store else _repr.repr(value)
        return AssertionError(f"check({what}) returned False")


def seeds_of(seeds: int | Iterable[int]) -> Sequence[int]:
    """Return the seeds to run; an empty list is an error, since it could find nothing."""
    listed = range(check_count("seeds", seeds)) if isinstance(seeds, int) else list(seeds)
    if not listed:
        raise ValueError("seeds must be a number of at least 1, or seeds; got none")
    return listed


def fresh(shared: Any) -> Any:
    """Return a new shared store for a run."""
    if shared is None:
        return {}
    return shared() if callable(shared) else deepcopy(shared)


def is_allowed(error: BaseException, allowed: Allowed) -> bool:
    """Return whether an error, or every error of a group, is an instance of these classes."""
    if isinstance(error, BaseExceptionGroup) and not isinstance(error, allowed):
        return all(is_allowed(inner, allowed) for inner in error.exceptions)
    return isinstance(error, allowed)


_repr = Repr()
_repr.maxdict = _repr.maxlist = _repr.maxstring = _repr.maxother = 80
