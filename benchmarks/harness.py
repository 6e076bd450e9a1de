"""Measures two ways to do the same work, in turn, and compares them pair by pair."""

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

Work = Callable[[], Awaitable[Any]]

ROUNDS = 5


async def seconds(work: Work) -> float:
    """Return how long one call takes, with the garbage of earlier ones collected."""
    gc.collect()
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def interleaved(*works: Work, rehearsed: bool = False) -> list[tuple[float, ...]]:
    """Return the seconds that each took, a tuple a round: they take turns in one process.

    Args:
        works: What is measured.
        rehearsed: Run each once more before each measurement. Whoever comes after one that has
            held much memory pays for getting its own from the system again.
    """
    for work in works:
        await work()  # plans, caches and specialised bytecode are there for all

    async def measured(work: Work) -> float:
        if rehearsed:
            await work()
        return await seconds(work)

    return [tuple([await measured(work) for work in works]) for _ in range(ROUNDS)]


async def compare(
    name: str, what: str, operations: int, floor: Work, ours: Work, target: str, **more: Any
) -> None:
    """Print the median of the ratios ours/floor over five interleaved rounds.

    The figures per operation are medians in microseconds.
    """
    pairs = await interleaved(floor, ours)
    emit(
        name,
        what,
        operations=operations,
        floor_us=round(median(f for f, _ in pairs) / operations * 1e6, 3),
        ours_us=round(median(o for _, o in pairs) / operations * 1e6, 3),
        ratio=round(median(o / f for f, o in pairs), 3),
        target=target,
        **more,
    )


def emit(name: str, what: str, **figures: Any) -> None:
    """Print one JSON line."""
    print(json.dumps({"benchmark": name, "what": what, **figures}), flush=True)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run one benchmark on a loop of its own."""

    async def started() -> None:
        await main()

    asyncio.run(started())
