"""``explore``: many runs of a graph in different orders, and those that fail."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from reprlib import Repr
from typing import Any

from .._validation import check_count, check_def
from ._simulated import MAX_STEPS
from .accounting import unaccounted
from .simulation import Simulated, Simulation, add_seed, play

Allowed = type[BaseException] | tuple[type[BaseException], ...]

# The number of runs spent on finding a shorter trace of the same failure.
SHORTER_RUNS = 300

# The number of lines of the trace to show.
LINES_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed.

    Attributes:
        seed: The seed; ``simulate(graph, shared, seed=…, deviations=…)`` repeats the run.
        error: The error that the run or the check raised.
        deviations: How many times the order differed from that of asyncio. After the last of
            these, the run followed the order of asyncio.
        run: The simulated run.
    """

    seed: int
    error: BaseException
    deviations: int
    run: Simulation

    @property
    def trace(self) -> list[str]:
        """What happened, up to the end of the run; see ``Simulation.trace``."""
        return self.run.trace

    def __str__(self) -> str:
        lines = [
            f"{type(self.error).__name__}: {self.error}",
            *getattr(self.error, "__notes__", ()),
            f"shared: {_repr.repr(self.run.shared)}",
            *self.trace[:LINES_SHOWN],
        ]
        if len(self.trace) > LINES_SHOWN:
            lines.append(f"… and {len(self.trace) - LINES_SHOWN} lines more")
        return "\n  ".join(lines)


class Exploration:
    """The result of ``explore``. It is true if any seed failed: ``assert not found, str(found)``.

    Attributes:
        seeds: The number of seeds.
        failures: The failures, in the order of the seeds.
        shortest: The failure to look at first: that with the shortest trace, run with the fewest
            deviations with which its seed still fails. None when no seed failed.
    """

    def __init__(self, seeds: int, failures: list[Failure], shortest: Failure | None) -> None:
        self.seeds, self.failures, self.shortest = seeds, failures, shortest

    def __bool__(self) -> bool:
        return bool(self.failures)

    def __len__(self) -> int:
        return len(self.failures)

    def __iter__(self) -> Iterator[Failure]:
        return iter(self.failures)

    def __repr__(self) -> str:
        return f"<Exploration {len(self.failures)} of {self.seeds} seeds break it>"

    def __str__(self) -> str:
        if self.shortest is None:
            return f"none of {self.seeds} seeds breaks it"
        counts = f"{len(self.failures)} of {self.seeds} seeds break it"
        return f"{counts}; the shortest:\n{self.shortest}"


def explore(
    graph: Simulated,
    shared: Any = None,
    /,
    *,
    check: Callable[[Any], object] | None = None,
    seeds: int | Iterable[int] = 1000,
    allowed: Allowed = (),
    watched: bool = True,
    max_steps: int = MAX_STEPS,
    max_seconds: float | None = None,
) -> Exploration:
    """Simulate a graph with many seeds and collect the failures.

    A seed fails when the run raises, when ``check`` raises or returns False, when an item has not
    ended exactly once, when the run leaves something behind (a task, a permit, an async
    generator), or when the loop's exception handler gets an error.

    Args:
        graph: Any node, or a coroutine function that is called with the shared store.
        shared: The shared store, copied deeply for each run; or a function that returns a new one.
        check: A function that is called with the shared store of each run without an error.
        seeds: The number of seeds, from 0 (the order of asyncio itself), or the seeds themselves.
        allowed: The error classes that a run may raise; a group is allowed if all errors in it
            are. ``check`` is not called after such an error.
        watched: As for ``simulate``.
        max_steps: As for ``simulate``.
        max_seconds: As for ``simulate``.
    """
    listed = seeds_of(seeds)
    check_def("check", check)

    def attempt(seed: int, deviations: int | None = None) -> Failure | None:
        run = play(graph, fresh(shared), seed, (), watched, deviations, max_steps, max_seconds)
        error = _complaint(run, check, allowed)
        if error is None:
            return None
        add_seed(error, seed, deviations)
        run.let_go(error)
        return Failure(seed, error, run.deviations, run)

    failures = [failure for seed in listed if (failure := attempt(seed)) is not None]
    shortest = min(failures, key=lambda found: (len(found.trace), found.deviations), default=None)
    if shortest is not None:
        shorter = (attempt(shortest.seed, most) for most in _fewer(shortest.deviations))
        shortest = next((failure for failure in shorter if failure is not None), shortest)
    return Exploration(len(listed), failures, shortest)


def seeds_of(seeds: int | Iterable[int]) -> Sequence[int]:
    """Return the seeds to run; an empty list is an error, since it could find nothing."""
    listed = range(check_count("seeds", seeds)) if isinstance(seeds, int) else list(seeds)
    if not listed:
        raise ValueError("seeds must be a number of at least 1, or seeds; got none")
    return listed


def _fewer(deviations: int) -> Iterable[int]:
    """Return smaller numbers to try, from 0: all of them, or an evenly spaced selection."""
    tries = min(deviations, SHORTER_RUNS)
    return (deviations * number // tries for number in range(tries))


def fresh(shared: Any) -> Any:
    """Return a new shared store for a run."""
    if shared is None:
        return {}
    return shared() if callable(shared) else deepcopy(shared)


def _complaint(
    run: Simulation, check: Callable[[Any], object] | None, allowed: Allowed
) -> BaseException | None:
    """Return what is wrong with a run, or None."""
    if run.error is not None and not is_allowed(run.error, allowed):
        return run.error
    wrong = run.left + unaccounted(run.events)
    if wrong:
        return AssertionError("\n".join(["the run has ended and left behind", *wrong]))
    if check is None or run.error is not None:
        return None
    try:
        held = check(run.shared)
    except (Exception, asyncio.CancelledError) as error:
        return error
    return AssertionError("check(shared) returned False") if held is False else None


def is_allowed(error: BaseException, allowed: Allowed) -> bool:
    """Return whether an error, or every error of a group, is an instance of these classes."""
    if isinstance(error, BaseExceptionGroup) and not isinstance(error, allowed):
        return all(is_allowed(inner, allowed) for inner in error.exceptions)
    return isinstance(error, allowed)


_repr = Repr()
_repr.maxdict = _repr.maxlist = _repr.maxstring = _repr.maxother = 80
