"""``cancel_everywhere``: cancel a run at every step of the loop, and check that nothing is left."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .._validation import check_def
from ._simulated import MAX_STEPS, SimulationLoop
from ._waits import waiting_tasks
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
    """Simulate a graph repeatedly, cancelled one step later each time, until it ends by itself.

    A step is a callback that the loop runs, or a jump of its clock from one timer to the next (the
    cancellation then comes half-way). After each run, this checks that no task, no thread of
    kaygraph and no permit is left, every item that began has ended exactly once, every async
    generator is closed, every coroutine was awaited, and the run has ended as cancelled.

    Args:
        graph: Any node, or a coroutine function that is called with the shared store.
        shared: The shared store, copied deeply for each run; or a function that returns a new one.
        seeds: The number of seeds, from 0 (the order of asyncio itself), or the seeds themselves.
        again: Cancel a second time, this many steps after the first.
        check: A function that is called with the shared store after each run. It raises or returns
            False to report that something of your own is left.
        allowed: The errors that the run may raise by itself, as for ``explore``. When it is
            cancelled before such an error, it must still end as cancelled.
        watched: As for ``simulate``. The accounting of items is checked only in watched runs.
        max_points: The maximum number of runs of a seed.
        max_steps: The maximum number of steps of the loop in one run.

    Returns:
        The number of cancelled runs.

    Raises:
        AssertionError: Something is left. The message says what, and at which seed and step.
        Exception: The run fails by itself with an error that is not ``allowed``.
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
                    gc.collect()  # so that leftovers are reported here and not in a later test
                    listed = "".join(f"\n  {line}" for line in wrong)
                    place = f"where its tasks were at that step:{point.waited}"
                    raise AssertionError(f"seed {seed}, cancelled at {point}:{listed}\n{place}")
                if not point.cancelled:
                    break  # the run ended before this step, so all steps are done
                points += 1
        gc.collect()  # coroutines in cycles warn only when they are collected
        if wrong := unawaited.found():
            raise AssertionError(f"somewhere among {points} points: {'; '.join(wrong)}")
    return points


class _Point:
    """A step at which a run is cancelled, and the check of what is left."""

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
        """Run to the end and return what is wrong."""
        threads = set(threading.enumerate())
        run = play(work, shared, seed, (), watched, max_steps=max_steps, prepare=self._arm)
        wrong = run.left + unaccounted(run.events)
        if not self.cancelled and run.error is not None and not is_allowed(run.error, self.allowed):
            raise run.error
        if self.cancelled and not isinstance(run.error, asyncio.CancelledError):
            error = run.error
            how = "with a result" if error is None else f"with {type(error).__name__}: {error}"
            wrong.append(f"the run, which was cancelled, has ended {how}")
        run.let_go()  # drop references, for instance to coroutines that were never awaited
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
    """Caught warnings: those about coroutines that were never awaited, and all others."""

    def __init__(self, caught: list[warnings.WarningMessage]) -> None:
        self._caught = caught
        self.others: dict[tuple[Any, ...], warnings.WarningMessage] = {}

    def found(self) -> list[str]:
        """Return the warnings about coroutines since the last call."""
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
    """Catch warnings about coroutines that were never awaited; issue the others at the end."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        collected = _Warnings(caught)
        yield collected
        collected.found()
    for warning in collected.others.values():
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
