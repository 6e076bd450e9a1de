"""G1: when a run is cancelled at any step, no task, thread, file or permit is left behind."""

import asyncio
import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kaygraph.testing import VirtualClockLoop, cancel_everywhere
from tests import shapes
from tests.guarantees import shapes_in_blocks, shapes_that_swallow, shapes_that_yield
from tests.guarantees.figures import cases
from tests.guarantees.shapes_of_limits import SHAPES
from tests.guarantees.shapes_of_limits import THREADED as IN_THREADS
from tests.shapes import Ledger, Shape

ALL = [
    *shapes.SHAPES,
    *SHAPES,
    *shapes_that_swallow.SHAPES,
    *shapes_that_yield.SHAPES,
    *shapes_in_blocks.SHAPES,
]
THREADED = [*IN_THREADS, *shapes_that_yield.THREADED]

# Points at which a run is cancelled, over all shapes.
POINTS, SOAK_POINTS = 50_000, 450_000
THREAD_POINTS, SOAK_THREAD_POINTS = 1_500, 13_500

# How many steps after the first cancellation a second one comes.
AGAIN = (None, None, 0, 1, 2, 3, 5, 8, 13, 21)

# Time that runs out cancels a clean-up like any other work: that is not the engine's doing.
TIMED = (shapes.timeout, SHAPES[4])


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def points_of_each(tried: Sequence[Shape], proof: int, soak: int) -> list[Any]:
    """Return the points of each shape, to parametrize a test with."""
    size = math.ceil(proof / len(tried))
    return cases(size, size=size, soak=soak // len(tried))


@pytest.mark.parametrize("points", points_of_each(ALL, POINTS, SOAK_POINTS))
@pytest.mark.parametrize("shape", ALL, ids=lambda shape: shape.__name__)
def test_a_run_cancelled_at_any_step_leaves_nothing_behind(
    shape: Shape, points: range, tally: Callable[[str, int], None]
) -> None:
    """No task, permit or file is left, and every finally has run, undisturbed unless asked twice.

    With every seed a run is cancelled at all of its steps, one after another; every other seed
    unwatched, and most of them a second time, some steps after the first.
    """

    async def run(ledger: Ledger) -> None:
        ledger.cancelled = again is None and shape not in TIMED
        await shape(ledger)

    def all_ended(ledger: Ledger) -> None:
        assert ledger.begun == ledger.ended
        assert ledger.interrupted == 0, "a clean-up was cut short"

    files, tried, seed = open_files(), 0, points.start
    while tried < len(points):
        again = AGAIN[seed % len(AGAIN)]
        settings: Any = {"again": again, "check": all_ended, "watched": seed % 2 == 0}
        tried += cancel_everywhere(run, Ledger, seeds=[seed], **settings)
        seed += 1
    assert open_files() == files
    tally("G1 points at which a run was cancelled", tried)


class CancelsAt(VirtualClockLoop):
    """Cancels a task at one of its steps; threads are real."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.steps, self.at = 0, at
        self.cancelled = False
        self.task: asyncio.Task[Any] | None = None

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.at and self.task is not None:
            self.cancelled = self.task.cancel()


@pytest.mark.parametrize("points", points_of_each(THREADED, THREAD_POINTS, SOAK_THREAD_POINTS))
@pytest.mark.parametrize("shape", THREADED, ids=lambda shape: shape.__name__)
def test_a_run_cancelled_at_any_step_leaves_no_thread_behind(
    shape: Shape, points: range, tally: Callable[[str, int], None]
) -> None:
    """Calls that have begun in a thread are waited for; the run's threads end with it."""
    files, tried, step = open_files(), 0, 0
    while tried < len(points):
        step += 1
        ledger = Ledger()
        loop = CancelsAt(step)
        try:
            loop.task = loop.create_task(shape(ledger))
            loop.run_until_complete(asyncio.wait([loop.task]))
            left = asyncio.all_tasks(loop)
        finally:
            loop.close()
        named = [thread.name for thread in threading.enumerate() if "kaygraph" in thread.name]
        assert (left, named, ledger.begun) == (set(), [], ledger.ended), step
        assert loop.task.cancelled() == loop.cancelled, step
        tried += loop.cancelled
        if not loop.cancelled:
            loop.task.result()
            assert step > 5
            step = 0  # it has ended by itself: all steps are done, and once more in other orders
    assert open_files() == files
    tally("G1 points at which a run with threads was cancelled", tried)
