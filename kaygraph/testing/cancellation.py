"""``cancel_everywhere``: a run is cancelled at every step of the loop, and nothing is left."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .._validation import check_def
from ._loop import waiting_tasks
from ._simulated import MAX_STEPS, SimulationLoop
from .accounting import unaccounted
from .exploration import Allowed, fresh, is_allowed, seeds_of
from .simulation import Simulated, play

MAX_POINTS = 100_000


def cancel_everywhere(
    graph: Simulated,
    shared: Any = None,
    /,
    *,
    seeds: int | Iterable[int] = 1,
    again: int | None = None,
    check: Callable[[Any], object] | None = None,
    allowed: Allowed = (),
    watched: bool = True,
    max_points: int = MAX_POINTS,
    max_steps: int = MAX_STEPS,
) -> int:
    """Simulate a graph again and again, cancelled one step later each time, until it ends first.

    A step is a callback that the loop runs, or a jump of its clock from one timer to the next (the
    cancellation comes half-way). After each run no task is left, no thread of kaygraph's and no
    permit; every item that was begun has ended exactly once; every async generator is closed;
    every coroutine was awaited; and the run has ended as cancelled.

    Args:
        graph: Any node, or a coroutine function that is called with the shared store.
        shared: The shared store, copied deeply for each run; or a function that returns a new one.
        seeds: How many, from 0 (the order of asyncio itself), or which.
        again: Cancel a second time, so many steps after the first.
        check: Called with the shared store after each run. It raises, or returns False, when
            something of the caller's own is left.
        allowed: What the run may raise by itself, as for ``explore``. Cancelled before that, it
            ends as cancelled all the same.
        watched: As for ``simulate``. Items are accounted for in runs that are watched.
        max_points: How many times a seed may be run before it ends by itself.
        max_steps: How many steps of the loop one run may take.

    Returns:
        How many times a run was cancelled.

    Raises:
        AssertionError: Something is left. It says what, and at which seed and step.
        Exception: The run fails by itself, with what is not ``allowed``.
    """
    points = 0
    check_def("check", check)
    with _unawaited() as unawaited:
        for seed in seeds_of(seeds):
            for step in range(1, max_points + 2):
                if step > max_points:
                    raise AssertionError(f"seed {seed}: not at its end after {max_points} points")
                point = _Point(step, again, allowed)
                wrong = point.play(graph, fresh(shared), seed, watched, max_steps, check)
                wrong += unawaited.found()
                if wrong:
                    point.explains = True
                    point.play(graph, fresh(shared), seed, watched, max_steps, None)
                    gc.collect()  # what is left is told of here, and not to whoever comes next
                    listed = "".join(f"\n  {line}" for line in wrong)
                    place = f"where its tasks were at that step:{point.waited}"
                    raise AssertionError(f"seed {seed}, cancelled at {point}:{listed}\n{place}")
                if not point.cancelled:
                    break  # it ended by itself before its step had come: all steps are done
                points += 1
        gc.collect()  # those in cycles are told of when they are collected
        if wrong := unawaited.found():
            raise AssertionError(f"somewhere among {points} points: {'; '.join(wrong)}")
    return points


class _Point:
    """A step at which a run is cancelled, and what is left then."""

    def __init__(self, step: int, again: int | None, allowed: Allowed) -> None:
        self.step, self.again, self.allowed = step, again, allowed
        self.cancelled = self.explains = False
        self.waited = ""  # where the run's tasks were when it was cancelled

    def __str__(self) -> str:
        then = "" if self.again is None else f" and again {self.again} steps later"
        return f"step {self.step}{then}"

    def play(
        self,
        work: Simulated,
        shared: Any,
        seed: int,
        watched: bool,
        max_steps: int,
        check: Callable[[Any], object] | None,
    ) -> list[str]:
        """Run until the run has ended; return what is wrong then."""
        threads = set(threading.enumerate())
        run = play(work, shared, seed, (), watched, max_steps=max_steps, prepare=self._arm)
        wrong = run.left + unaccounted(run.events)
        if not self.cancelled and run.error is not None and not is_allowed(run.error, self.allowed):
            raise run.error
        if self.cancelled and not isinstance(run.error, asyncio.CancelledError):
            error = run.error
            how = "with a result" if error is None else f"with {type(error).__name__}: {error}"
            wrong.append(f"the run, which was cancelled, has ended {how}")
        run.let_go()  # of coroutines, say, that nobody has awaited
        wrong += [
            f"a thread: {thread.name}"
            for thread in threading.enumerate()
            if thread not in threads and thread.name.startswith("kaygraph")
        ]
        if check is not None:
            try:
                if check(shared) is False:
                    wrong.append("check(shared) returned False")
            except Exception as error:
                wrong.append(f"check(shared) raised {type(error).__name__}: {error}")
        return wrong

    def _arm(self, loop: SimulationLoop, task: "asyncio.Task[Any]") -> None:
        """Cancel the task when its step comes."""

        def cancel() -> None:
            if self.explains:
                self.waited = waiting_tasks(loop)
            self.cancelled = task.cancel()
            if self.again == 0:
                task.cancel()
            elif self.again is not None:
                loop.alarm(loop.steps + self.again, task.cancel)

        loop.alarm(self.step, cancel)


class _Warnings:
    """Warnings as they come, of which those of coroutines that were never awaited are ours."""

    def __init__(self, caught: list[warnings.WarningMessage]) -> None:
        self._caught = caught
        self.others: dict[tuple[Any, ...], warnings.WarningMessage] = {}

    def found(self) -> list[str]:
        """Return what has come since the last time."""
        texts = []
        for warning in self._caught:
            text = str(warning.message)
            if warning.category is RuntimeWarning and "never awaited" in text:
                texts.append(text)
            else:
                place = (text, warning.category, warning.filename, warning.lineno)
                self.others.setdefault(place, warning)
        self._caught.clear()
        return texts


@contextmanager
def _unawaited() -> Iterator[_Warnings]:
    """Hear of coroutines that were never awaited; other warnings are passed on at the end, once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        heard = _Warnings(caught)
        yield heard
        heard.found()
    for warning in heard.others.values():
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
