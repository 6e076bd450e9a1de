"""How soon a race is found: by seeds, and by running the program again and again."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kaygraph.testing import explore
from tests.testing.races.planting import Program

SEEDS = 1_000

# A run is longer than this when it has a lock or a wake-up that never comes.
MAX_STEPS, MAX_SECONDS = 20_000, 60.0
REAL_SECONDS = 1.0


def first_seed(play: Program, start: int = 0, seeds: int = SEEDS) -> int | None:
    """Return how many seeds it takes until one breaks a program, or None if none does."""

    async def program(_: object) -> None:
        await play()

    first = start
    for last in sorted({min(10, seeds), min(100, seeds), seeds}):
        found = explore(
            program, seeds=range(first, start + last), max_steps=MAX_STEPS, max_seconds=MAX_SECONDS
        )
        if found:
            return found.failures[0].seed - start + 1
        first = start + last
        if last == seeds:
            break
    return None


def first_run(play: Program, runs: int = 1_000) -> int | None:
    """Return how many runs on asyncio's own loop it takes until one fails; None if none does."""
    return next((run for run in range(1, runs + 1) if not passes(play)), None)


def passes(play: Program) -> bool:
    """Return whether a program ends on a real loop without an error and without a complaint."""
    complaints: list[dict[str, Any]] = []

    async def run() -> bool:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        task = asyncio.ensure_future(play())
        await asyncio.wait([task], timeout=REAL_SECONDS)
        return task.done() and not task.cancelled() and task.exception() is None

    with asyncio.Runner() as runner:
        ended = runner.run(run())
    return ended and not complaints


@contextmanager
def silence() -> Iterator[None]:
    """Keep back what broken programs leave to the log."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
